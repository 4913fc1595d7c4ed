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
from .option import RenamedOption
from .serve import handle_stop_signals, ignore_stop_signals, say, state_option, stop_on_exit

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LIMITS = Limits()
# What a gateway in the background says, in its folder; and first when it listens.
OUTPUT, READY = "output.log", "ready: "
POLL_SECONDS = 0.1

_OPTIONS = (
    click.option(
        "--api-keys",
        cls=RenamedOption,
        formerly="--keys",
        type=FILE,
        help="File with one line KEY NAME per client; required.",
    ),
    click.option(
        "--default",
        metavar="MODEL",
        help="Model of /predict; /predict/MODEL selects any.  [default: the server's first model]",
    ),
    click.option(
        "--tls-cert",
        cls=RenamedOption,
        formerly="--certificate",
        type=FILE,
        help="TLS certificate, as PEM with its chain; requires --tls-key.",
    ),
    click.option(
        "--tls-key",
        cls=RenamedOption,
        formerly="--certificate-key",
        type=FILE,
        help="Private key of the certificate, as PEM.",
    ),
    click.option(
        "--no-tls",
        cls=RenamedOption,
        formerly="--plain",
        is_flag=True,
        help="Accept HTTP without TLS: for clients on this machine, or behind a proxy with TLS.",
    ),
    click.option(
        "--host", default="127.0.0.1", show_default=True, help="IPv4 or IPv6 address to listen on."
    ),
    click.option(
        "--port",
        type=click.IntRange(1, 65535),
        default=8443,
        show_default=True,
        help="Port to listen on.",
    ),
    click.option(
        "--max-body-size",
        cls=RenamedOption,
        formerly="--body",
        default=LIMITS.max_body_size,
        show_default=True,
        help="Maximum size of a request body; k and m stand for KiB and MiB.",
    ),
    click.option(
        "--rate-limit",
        cls=RenamedOption,
        formerly="--rate",
        default=LIMITS.rate_limit,
        show_default=True,
        help="Maximum requests per second of one client.",
    ),
    click.option(
        "--burst",
        default=LIMITS.burst,
        show_default=True,
        help="Requests of one client that may exceed the rate limit for a short time.",
    ),
    click.option(
        "--max-concurrency",
        cls=RenamedOption,
        formerly="--in-flight",
        default=LIMITS.max_concurrency,
        show_default=True,
        help="Maximum concurrent requests of all clients; lower for large requests and for slow "
        "models.",
    ),
    click.option(
        "--memory",
        default=LIMITS.memory,
        show_default=True,
        help="Maximum total size of concurrent requests in MB; choose one fifth of Java's heap, "
        "which has 512 MB by default.",
    ),
    click.option(
        "--timeout",
        cls=RenamedOption,
        formerly="--answer",
        default=LIMITS.timeout,
        show_default=True,
        help="Seconds until a request without a response gets status 504.",
    ),
    click.option(
        "--max-concurrency-per-address",
        cls=RenamedOption,
        formerly="--connections",
        default=LIMITS.max_concurrency_per_address,
        show_default=True,
        help="Maximum concurrent requests of one client address.",
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
        "--allow-origin",
        "origins",
        multiple=True,
        metavar="ORIGIN",
        help="Origin of a website whose scripts may send requests (CORS), like "
        "https://www.example.com; may be repeated.  [default: none]",
    ),
    click.option(
        "--page/--no-page",
        default=True,
        show_default=True,
        help="Serve a web page at / to try the models; its requests need an API key, too.",
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
    handle_stop_signals()
    reload = reloading(**options)
    with (
        hold_pid_lock(server.gateway, "gateway"),
        serve_metrics(server.gateway, gateway_metrics_port) as metrics,
    ):
        started = open_gateway(server, **options)
        with stop_on_exit(started.stop):
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
    """Has the gateway read the files of --api-keys and --tls-cert again, without a lost request.

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
    api_keys: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    no_tls: bool,
    **_: object,
) -> None:
    """What click cannot say of options: there have to be keys, and TLS or none chosen."""
    if api_keys is None:
        raise click.UsageError("expected --api-keys: a file with one line KEY NAME per client")
    if no_tls == (tls_cert is not None) or (tls_cert is None) != (tls_key is None):
        raise click.UsageError("expected --tls-cert and --tls-key, or --no-tls")


def open_gateway(
    server: Server,
    api_keys: Path,
    default: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    no_tls: bool,
    host: str,
    port: int,
    trusted: Sequence[str],
    origins: Sequence[str],
    page: bool,
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
        api_keys,
        host=host,
        port=port,
        certificate=_pair(tls_cert, tls_key),
        limits=Limits(**limits),  # type: ignore[arg-type]
        trusted=trusted,
        origins=origins,
        page=page,
    )
    url = f"{'http' if no_tls else 'https'}://{in_url(host)}:{port}/predict"
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
        ignore_stop_signals()
        started.set_ready(False)
        metrics.update_ready(False)
        time.sleep(notice_seconds)
        raise


def reloading(api_keys: Path, tls_cert: Path | None, tls_key: Path | None, **_: object) -> Reload:
    """Has signals read keys and certificate anew, from now on."""
    reload = Reload(api_keys, _pair(tls_cert, tls_key))
    reload.listen()
    return reload


def _pair(certificate: Path | None, key: Path | None) -> Certificate | None:
    return Certificate(certificate, key) if certificate and key else None
