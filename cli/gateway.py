"""falconet gateway"""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from falconet.model.samples import example
from falconet.serving.gateway import Gateway, Limits
from falconet.serving.server import Server
from falconet.serving.supervisor import supervise

from .deploy import running
from .serve import ENDINGS, ignore_endings, interrupt, state_option, stopped_at_the_end

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LIMITS = Limits()

_OPTIONS = (
    click.option(
        "--keys", type=FILE, required=True, help="File with one line KEY NAME per client."
    ),
    click.option(
        "--default",
        metavar="MODEL",
        help="Model of /predict; /predict/MODEL selects any.  [default: the server's first model]",
    ),
    click.option("--certificate", type=FILE, help="TLS certificate; requires --certificate-key."),
    click.option("--certificate-key", type=FILE, help="Private key of the certificate."),
    click.option("--plain", is_flag=True, help="No TLS: for one machine, or behind a proxy."),
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
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
        help="Concurrent requests of all clients; the limit is lower for large requests.",
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


@click.command()
@gateway_options
@state_option
def gateway(notice_seconds: float, state: Path, **options: Any) -> None:
    """Runs nginx in front of the server: TLS, API keys, limits; only prediction URLs are reachable.

    /predict/MODEL sends a request to MODEL, and /predict to the model of --default. The gateway
    follows models that are deployed or removed while it runs.

    Requests above a limit get status 429 with Retry-After. /live and /ready are for a load
    balancer: /ready reports ready while all workers are ready and each model answers a test
    request. On Ctrl-C it reports not ready, running requests are answered, and nginx stops.
    """
    check(**options)
    server = running(state)
    for number in ENDINGS:
        signal.signal(number, interrupt)
    started = open_gateway(server, **options)
    with stopped_at_the_end(started.stop):
        watch(server, started, notice_seconds)


def check(certificate: Path | None, certificate_key: Path | None, plain: bool, **_: object) -> None:
    """What click cannot say of options: TLS or none has to be chosen."""
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
    **limits: int | str,
) -> Gateway:
    """One that listens, and has said so."""
    models = server.models
    if default is not None:
        first = server.named(default)
        models = [first, *(model for model in models if model != first)]
    pair = (certificate, certificate_key) if certificate and certificate_key else None
    started = Gateway.start(
        server.gateway,
        server.ports.inference,
        models,
        keys,
        host=host,
        port=port,
        certificate=pair,
        limits=Limits(**limits),  # type: ignore[arg-type]
    )
    url = f"{'http' if plain else 'https'}://{host}:{port}/predict"
    click.echo(f"ready: {url}. Try:")
    click.echo(f"curl -H 'X-Api-Key: KEY' -F image=@PICTURE {url}")
    return started


def watch(server: Server, started: Gateway, notice_seconds: float) -> NoReturn:
    """Supervise both, and on Ctrl-C give notice that the gateway is about to end.

    Raises:
        ServerError: one of them has ended.
    """
    try:
        supervise(server, started, example())
    except KeyboardInterrupt:
        ignore_endings()
        started.admit(False)
        time.sleep(notice_seconds)
        raise
