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
    click.option("--keys", type=FILE, required=True, help="A line KEY NAME for each who may ask."),
    click.option(
        "--default",
        metavar="MODEL",
        help="What /predict asks; /predict/MODEL asks any.  [default: the server's first]",
    ),
    click.option("--certificate", type=FILE, help="For TLS; with --certificate-key."),
    click.option("--certificate-key", type=FILE, help="Its private key."),
    click.option("--plain", is_flag=True, help="Without TLS: on one machine, or behind a proxy."),
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option("--port", type=click.IntRange(1, 65535), default=8443, show_default=True),
    click.option("--body", default=LIMITS.body, show_default=True, help="The largest request."),
    click.option(
        "--rate", default=LIMITS.rate, show_default=True, help="A second, of each client."
    ),
    click.option("--burst", default=LIMITS.burst, show_default=True, help="Ahead of that."),
    click.option(
        "--in-flight",
        default=LIMITS.in_flight,
        show_default=True,
        help="At a time, of all clients; fewer of those that are large.",
    ),
    click.option(
        "--memory",
        default=LIMITS.memory,
        show_default=True,
        help="MB of requests at a time; a fifth of Java's heap, which is 512 MB by default.",
    ),
    click.option("--answer", default=LIMITS.answer, show_default=True, help="Seconds it may take."),
    click.option(
        "--notice-seconds",
        default=5.0,
        show_default=True,
        help="From when /ready says no until nobody is let in, for a load balancer to notice.",
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
    """Put nginx before a server, until Ctrl-C: TLS, API keys, limits, predictions alone.

    /predict/MODEL asks a model, and /predict the one that is named by --default. Models that are
    deployed or taken away meanwhile are followed.

    More than is allowed gets a 429 with Retry-After. /live and /ready are for a load balancer:
    /ready says yes while all workers are ready and each model answers a picture. On Ctrl-C it says
    no, what has come is answered, and nginx ends.
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
