"""falconet gateway"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from falconet.model.samples import example
from falconet.serving import gateway_process
from falconet.serving.certificate import Certificate
from falconet.serving.errors import ServerError
from falconet.serving.gateway import Gateway
from falconet.serving.gateway_metrics import GatewayMetrics, serve_metrics
from falconet.serving.gateway_process import hold_pid_lock
from falconet.serving.limits import Limits
from falconet.serving.nginx_config import in_url
from falconet.serving.reload import Reload, ask_to_reload
from falconet.serving.server import GATEWAY, Server
from falconet.serving.supervisor import ServerLocator, supervise

from .deploy import running
from .serve import catch_endings, ignore_endings, say, state_option, stopped_at_the_end

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LIMITS = Limits()
# What a gateway in the background says, in its folder; and first when it listens.
OUTPUT, READY = "output.log", "ready: "
POLL_SECONDS = 0.1

_OPTIONS = (
    click.option("--keys", type=FILE, help="File with one line KEY NAME per client; required."),
    click.option(
        "--default",
        metavar="MODEL",
        help="Model of /predict; /predict/MODEL selects any.  [default: the server's first model]",
    ),
    click.option("--certificate", type=FILE, help="TLS certificate; requires --certificate-key."),
    click.option("--certificate-key", type=FILE, help="Private key of the certificate."),
    click.option("--plain", is_flag=True, help="No TLS: for one machine, or behind a proxy."),
    click.option(
        "--host", default="127.0.0.1", show_default=True, help="IPv4 or IPv6 address to listen on."
    ),
    click.option("--port", type=click.IntRange(1, 65535), default=8443, show_default=True),
    click.option("--body", default=LIMITS.body, show_default=True, help="Largest request body."),
    click.option(
        "--rate", default=LIMITS.rate, show_default=True, help="Requests per second and client."
    ),
    click.option(
        "--burst",
        default=LIMITS.burst,
        show_default=True,
        help="Requests that may exceed the rate for a short time.",
    ),
    click.option(
        "--in-flight",
        default=LIMITS.in_flight,
        show_default=True,
        help="Concurrent requests of all clients; the limit is lower for large requests and for "
        "slow models.",
    ),
    click.option(
        "--memory",
        default=LIMITS.memory,
        show_default=True,
        help="Total size of concurrent requests in MB: one fifth of Java's heap, which has 512 MB "
        "by default.",
    ),
    click.option(
        "--answer",
        default=LIMITS.answer,
        show_default=True,
        help="Timeout of a response in seconds.",
    ),
    click.option(
        "--connections",
        default=LIMITS.connections,
        show_default=True,
        help="Concurrent requests of one client address.",
    ),
    click.option(
        "--trusted-proxy",
        "trusted",
        multiple=True,
        metavar="ADDRESS",
        help="Address or network of a proxy in front of the gateway, whose X-Forwarded-For names "
        "the client's address; may be repeated.",
    ),
    click.option(
        "--gateway-metrics-port",
        type=click.IntRange(0, 65535),
        default=8083,
        show_default=True,
        help="Port of the gateway's Prometheus metrics on 127.0.0.1; 0 for none.",
    ),
    click.option(
        "--notice-seconds",
        default=5.0,
        show_default=True,
        help="Seconds between /ready reporting not ready and closing the port.",
    ),
)
Command = TypeVar("Command", bound=Callable[..., Any])


def gateway_options(command: Command) -> Command:
    """What :func:`open_gateway` takes, and for how long to give notice of the end."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@gateway_options
@click.option(
    "--background",
    is_flag=True,
    help="Return when it listens; stop the gateway with: falconet gateway stop",
)
@state_option
@click.pass_context
def gateway(
    context: click.Context,
    /,
    notice_seconds: float,
    gateway_metrics_port: int,
    background: bool,
    state: Path,
    **options: Any,
) -> None:
    """Runs nginx in front of the server: TLS, API keys, limits; no management URL is reachable.

    /predict/MODEL sends a request to MODEL, and /predict to the model of --default. The gateway
    follows models that are deployed or removed while it runs. The server must run when the gateway
    starts. If the server stops later, the gateway responds with status 503 until it is started
    again.

    Requests above a limit get status 429 with Retry-After. /live and /ready are for a load
    balancer: /ready reports ready while each model has a ready worker and responds to requests. On
    Ctrl-C it reports not ready, running requests are answered, and nginx stops.
    """
    if context.invoked_subcommand is not None:
        return
    check(**options)
    server = running(state)
    if background:
        _begin(server)
        return
    catch_endings()
    reload = reloading(**options)
    with (
        hold_pid_lock(server.gateway, "gateway"),
        serve_metrics(server.gateway, gateway_metrics_port) as metrics,
    ):
        started = open_gateway(server, **options)
        with stopped_at_the_end(started.stop):
            watch(ServerLocator(server), state, started, notice_seconds, reload, metrics)


@gateway.command()
@click.option(
    "--timeout", default=90.0, show_default=True, help="Maximum seconds until it has stopped."
)
@state_option
def stop(timeout: float, state: Path) -> None:
    """Stops the gateway that `falconet gateway` started with this --state.

    /ready reports not ready for its --notice-seconds, and running requests are answered, before it
    stops.
    """
    process = gateway_process.stop(state / GATEWAY, timeout)
    if process is None:
        click.echo(f"no gateway runs with {state}")
    else:
        click.echo(f"stopped the gateway (process {process})")


@gateway.command()
@state_option
def reload(state: Path) -> None:
    """Has the gateway read the files of --keys and --certificate again, without a lost request.

    SIGHUP does the same if stdin is not a terminal. If a file is invalid, the gateway keeps the
    previous keys and certificate.
    """
    holder = gateway_process.find(state / GATEWAY)
    if holder is None:
        raise ServerError(f"no gateway runs with {state}; start one with: falconet gateway")
    ask_to_reload(state / GATEWAY, holder.process)
    click.echo(f"reloaded keys and certificate (process {holder.process})")


def _begin(server: Server) -> None:
    """Run this command once more, without a terminal, and return when it has a gateway.

    Raises:
        ServerError: it ends at once; with what it said.
    """
    gateway_process.refuse_another(server.gateway)
    server.gateway.mkdir(parents=True, exist_ok=True)
    log = server.gateway / OUTPUT
    with log.open("wb") as output:
        child = subprocess.Popen(
            [
                *(sys.executable, "-m", "falconet.cli"),
                *(each for each in sys.argv[1:] if each != "--background"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    while READY not in log.read_text():
        if child.poll() is not None:
            raise ServerError(log.read_text().strip().removeprefix("Error: "))
        time.sleep(POLL_SECONDS)
    click.echo(log.read_text(), nl=False)


def check(
    keys: Path | None,
    certificate: Path | None,
    certificate_key: Path | None,
    plain: bool,
    **_: object,
) -> None:
    """What click cannot say of options: there have to be keys, and TLS or none chosen."""
    if keys is None:
        raise click.UsageError("expected --keys: a file with one line KEY NAME per client")
    if plain == (certificate is not None) or (certificate is None) != (certificate_key is None):
        raise click.UsageError("expected --certificate and --certificate-key, or --plain")


def open_gateway(
    server: Server,
    keys: Path,
    default: str | None,
    certificate: Path | None,
    certificate_key: Path | None,
    plain: bool,
    host: str,
    port: int,
    trusted: Sequence[str],
    **limits: int | str,
) -> Gateway:
    """One that listens, and has said so."""
    models = server.models
    if default is not None:
        first = server.named(default)
        models = [first, *(model for model in models if model != first)]
    started = Gateway.start(
        server.gateway,
        server.ports.inference,
        models,
        keys,
        host=host,
        port=port,
        certificate=_pair(certificate, certificate_key),
        limits=Limits(**limits),  # type: ignore[arg-type]
        trusted=trusted,
    )
    url = f"{'http' if plain else 'https'}://{in_url(host)}:{port}/predict"
    say(f"{READY}{url}. Try:")
    say(f"curl -H 'X-Api-Key: KEY' -F image=@IMAGE {url}")
    return started


def watch(
    find: Callable[[], Server | None],
    state: Path,
    started: Gateway,
    notice_seconds: float,
    reload: Reload,
    metrics: GatewayMetrics,
) -> NoReturn:
    """Supervise it, and on Ctrl-C give notice that it is about to end.

    Raises:
        ServerError: nginx has ended; or what ``find`` raises.
    """
    try:
        supervise(state, find, started, example(), say, reload, metrics)
    except KeyboardInterrupt:
        ignore_endings()
        started.admit(False)
        metrics.update_ready(False)
        time.sleep(notice_seconds)
        raise


def reloading(
    keys: Path, certificate: Path | None, certificate_key: Path | None, **_: object
) -> Reload:
    """Has signals read keys and certificate anew, from now on."""
    reload = Reload(keys, _pair(certificate, certificate_key))
    reload.listen()
    return reload


def _pair(certificate: Path | None, key: Path | None) -> Certificate | None:
    return Certificate(certificate, key) if certificate and key else None
