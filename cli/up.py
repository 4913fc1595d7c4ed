"""falconet up"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click

from falconet.serving.package import Package
from falconet.serving.profile import Name as ProfileName
from falconet.serving.record import Record
from falconet.serving.smoke import smoke_test

from .gateway import check, gateway_options, open_gateway, watch
from .serve import (
    PORT,
    drain_option,
    ignore_endings,
    server_options,
    start,
    stopped_at_the_end,
    what,
    written_example,
)


@click.command()
@click.option("--inference-port", type=PORT, help="TorchServe's.  [default: as in --config]")
@server_options
@gateway_options
@drain_option
def up(
    archives: Sequence[Path],
    inference_port: int | None,
    management_port: int | None,
    metrics_port: int | None,
    config: Path,
    profile: ProfileName | Literal["auto"],
    picture: Path | None,
    timeout: float,
    state: Path,
    notice_seconds: float,
    drain_seconds: float,
    **options: Any,
) -> None:
    """Serve ARCHIVES with a gateway before them, until Ctrl-C: what a container or a unit runs.

    Both as by `falconet serve` and `falconet gateway`, but that the samples of each archive have to
    be answered as recorded before anybody is let in. Ended, it lets a load balancer notice,
    answers what has come, and stops all it has started; if TorchServe or nginx ends by itself, it
    ends with an error, for whoever supervises it to start it again.
    """
    check(**options)
    began = time.monotonic()
    server = start(archives, inference_port, management_port, metrics_port, config, profile, state)
    with stopped_at_the_end(server.stop):
        server.wait_ready((picture or written_example(state)).read_bytes(), timeout)
        for record in Record.load(state).values():
            smoke_test(server.client, Package.verify(server.store / record.serving.file))
        click.echo(f"{what(server)}: ready after {time.monotonic() - began:.1f} s")
        gateway = open_gateway(server, **options)
        try:
            watch(server, gateway, notice_seconds)
        except BaseException as error:
            ignore_endings()
            gateway.stop()
            if isinstance(error, KeyboardInterrupt):
                server.drain(drain_seconds)
            raise
