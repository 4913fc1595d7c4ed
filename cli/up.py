"""falconet up"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from falconet.serving.errors import ServerError
from falconet.serving.gateway_metrics import serve_metrics
from falconet.serving.gateway_process import hold_pid_lock
from falconet.serving.package import Package
from falconet.serving.profile import Name as ProfileName
from falconet.serving.record import Record
from falconet.serving.server import GATEWAY, Server
from falconet.serving.smoke import smoke_test

from .gateway import check, gateway_options, open_gateway, reloading, watch
from .serve import (
    PORT,
    PORT_DEFAULT,
    START_TIMEOUT,
    drain_option,
    ignore_stop_signals,
    server_options,
    start,
    stop_on_exit,
    what,
    written_example,
)


@click.command()
@click.option("--inference-port", type=PORT, help=f"Port of TorchServe.  {PORT_DEFAULT}")
@server_options
@click.option("--start-timeout", **START_TIMEOUT)
@gateway_options
@drain_option
def up(
    archives: Sequence[Path],
    inference_port: int | None,
    management_port: int | None,
    metrics_port: int | None,
    config: Path,
    profile: ProfileName | Literal["auto"],
    workers: int | None,
    image: Path | None,
    start_timeout: float,
    state: Path,
    notice_seconds: float,
    gateway_metrics_port: int,
    drain_seconds: float,
    **options: Any,
) -> None:
    """Serves ARCHIVES behind a gateway until Ctrl-C: the command of a container or a systemd unit.

    Combines `falconet serve` and `falconet gateway`. The gateway starts only after each model has
    given the expected predictions for the samples in its archive.

    On Ctrl-C, /ready reports not ready for --notice-seconds, running requests are answered, and all
    that the command has started is stopped. If TorchServe or nginx ends by itself, the command
    exits with an error, so that a supervisor can restart it.
    """
    check(**options)
    # Before anything else, so that Prometheus finds a server that starts, and one that ends.
    with serve_metrics(state / GATEWAY, gateway_metrics_port) as metrics:
        began = time.monotonic()
        server = start(
            archives, inference_port, management_port, metrics_port, config, profile, workers, state
        )
        reload = reloading(**options)
        with stop_on_exit(server.stop):
            server.wait_ready((image or written_example(state)).read_bytes(), start_timeout)
            for record in Record.load(state).values():
                smoke_test(
                    server.client.inference, Package.verify(server.store / record.serving.file)
                )
            click.echo(f"{what(server)}: ready after {time.monotonic() - began:.1f} s")
            with hold_pid_lock(server.gateway, "up"):
                gateway = open_gateway(server, **options)
                try:
                    find = partial(_alive, server)
                    watch(find, state, gateway, notice_seconds, reload, metrics)
                except BaseException as error:
                    ignore_stop_signals()
                    gateway.stop()
                    if isinstance(error, KeyboardInterrupt):
                        server.drain(drain_seconds)
                    raise


def _alive(server: Server) -> Server:
    """The server, as long as it runs: a supervisor is to start both again."""
    if not server.running():
        raise ServerError(f"TorchServe has ended; see {server.folder / 'logs'}")
    return server
