"""falconet gateway"""

import contextlib
import signal
import time
from pathlib import Path

import click

from falconet.serving.errors import ServerError
from falconet.serving.gateway import Gateway, Limits

from .deploy import running
from .serve import ENDINGS, example, ignore_endings, interrupt, state_option

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LIMITS = Limits()
READY_SECONDS = 1.0  # between two looks at the server


@click.command()
@click.option("--keys", type=FILE, required=True, help="A line KEY NAME for each who may ask.")
@click.option("--certificate", type=FILE, help="For TLS; with --certificate-key.")
@click.option("--certificate-key", type=FILE, help="Its private key.")
@click.option("--plain", is_flag=True, help="Without TLS: on one machine, or behind a proxy.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8443, show_default=True)
@click.option("--body", default=LIMITS.body, show_default=True, help="The largest request.")
@click.option("--rate", default=LIMITS.rate, show_default=True, help="A second, of each client.")
@click.option("--burst", default=LIMITS.burst, show_default=True, help="Ahead of that.")
@click.option(
    "--in-flight", default=LIMITS.in_flight, show_default=True, help="At a time, of all clients."
)
@click.option("--answer", default=LIMITS.answer, show_default=True, help="Seconds it may take.")
@click.option(
    "--drain-seconds",
    default=5.0,
    show_default=True,
    help="From when /ready says no until nobody is let in, for a load balancer to notice.",
)
@state_option
def gateway(
    keys: Path,
    certificate: Path | None,
    certificate_key: Path | None,
    plain: bool,
    host: str,
    port: int,
    drain_seconds: float,
    state: Path,
    **limits: int | str,
) -> None:
    """Put nginx before a server, until Ctrl-C: TLS, API keys, limits, predictions alone.

    More than is allowed gets a 429 with Retry-After. /live and /ready are for a load balancer:
    /ready says yes while all workers are ready and a picture is answered. On Ctrl-C it says no,
    what has come is answered, and nginx ends.
    """
    if plain == (certificate is not None) or (certificate is None) != (certificate_key is None):
        raise click.UsageError("expected --certificate and --certificate-key, or --plain")
    server = running(state)
    for number in ENDINGS:
        signal.signal(number, interrupt)
    pair = (certificate, certificate_key) if certificate and certificate_key else None
    started = Gateway.start(
        state / "gateway",
        server.ports.inference,
        server.model,
        keys,
        host=host,
        port=port,
        certificate=pair,
        limits=Limits(**limits),  # type: ignore[arg-type]
    )
    try:
        url = f"{'https' if pair else 'http'}://{host}:{port}/predict"
        click.echo(f"ready: {url}. Try:")
        click.echo(f"curl -H 'X-Api-Key: KEY' -F image=@PICTURE {url}")
        picture = example()
        while started.child.poll() is None:
            started.admit(server.ready(picture))
            started.rotate()
            time.sleep(READY_SECONDS)
        raise ServerError(f"nginx has ended; see {started.folder / 'error.log'}")
    except KeyboardInterrupt:
        ignore_endings()
        started.admit(False)
        time.sleep(drain_seconds)
        started.stop()
        with contextlib.suppress(OSError):  # the terminal may be gone
            click.echo("stopped")
    except BaseException:
        ignore_endings()
        started.stop()
        raise
