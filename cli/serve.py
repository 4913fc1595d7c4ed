"""falconet serve, stop and status"""

import contextlib
import io
import json
import shlex
import signal
import time
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import click
from PIL import Image

from falconet.serving.configuration import DEFAULT as DEFAULT_CONFIG
from falconet.serving.configuration import Configuration
from falconet.serving.errors import ServerError
from falconet.serving.profile import Name as ProfileName
from falconet.serving.profile import Profile
from falconet.serving.server import Server

from .archive import DEFAULT_OUTPUT as DEFAULT_ARCHIVE
from .archive import make_archive

STATE = Path(".falconet")
PORT = click.IntRange(0, 65535)
# Ctrl-C, a supervisor that ends us, a terminal that closes: all mean the same.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=STATE,
    show_default=True,
    help="Folder with the server's state and logs; one server for each.",
)


@click.command()
@click.argument(
    "archive",
    required=False,
    type=click.Path(dir_okay=False, path_type=Path),
)
@click.option("--port", type=PORT, help="Predictions.  [default: as in --config; 0: any free one]")
@click.option("--management-port", type=PORT, help="Management.  [default: likewise]")
@click.option("--metrics-port", type=PORT, help="Metrics.  [default: likewise]")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_CONFIG,
    help="TorchServe's config.properties to start from.  [default: the one that comes along]",
)
@click.option(
    "--profile",
    type=click.Choice(["auto", *get_args(ProfileName)]),
    default="auto",
    show_default=True,
    help="Workers, threads and memory, for a kind of machine, where --config leaves them open.",
)
@click.option(
    "--picture",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Picture to try the server with once it is up.  [default: a made one]",
)
@click.option("--background", is_flag=True, help="Return when ready; end with: falconet stop")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait until ready.")
@state_option
def serve(
    archive: Path | None,
    port: int | None,
    management_port: int | None,
    metrics_port: int | None,
    config: Path,
    profile: ProfileName | Literal["auto"],
    picture: Path | None,
    background: bool,
    timeout: float,
    state: Path,
) -> None:
    """Serve ARCHIVE with TorchServe, until Ctrl-C.

    ARCHIVE is what `falconet archive` made.  [default: build/model_store/cifar10.mar, made of the
    CIFAR-10 weights that come along if it is not there]

    Started again with the same ARCHIVE, it serves what was deployed since; another begins anew.

    Says `ready` when every worker has loaded the model and a picture has been answered.
    """
    configuration = Configuration.load(config, port, management_port, metrics_port)
    configuration = configuration.fit(Profile.of_machine(profile))
    if archive is None:
        archive = DEFAULT_ARCHIVE
        if not archive.exists():
            click.echo(f"packing the model that comes along into {archive}")
            make_archive(None, archive)
    for number in ENDINGS:
        signal.signal(number, interrupt)
    began = time.monotonic()
    server = Server.start(archive, state, configuration)
    try:
        if picture is None:
            picture = state / "example.png"
            picture.write_bytes(example())
        server.wait_ready(picture.read_bytes(), timeout)
        described = server.client.describe(server.model)
        what = f"{server.model} {described['modelVersion']}, workers: {len(described['workers'])}"
        click.echo(f"ready: {what}, after {time.monotonic() - began:.1f} s. Try:")
        url = server.client.prediction_url(server.model)
        click.echo(f"curl -X POST -F {shlex.quote(f'image=@{picture}')} {url}")
        if not background:
            click.echo("Ctrl-C stops it.")
            _watch(server)
    except KeyboardInterrupt:
        _stop_undisturbed(server)
        with contextlib.suppress(OSError):  # the terminal may be gone
            click.echo("stopped")
    except BaseException:
        _stop_undisturbed(server)
        raise


@click.command()
@state_option
def stop(state: Path) -> None:
    """Stop the server that `falconet serve` started in this folder."""
    server = Server.find(state)
    if server is None:
        click.echo(f"no server runs with {state}")
        return
    server.stop()
    click.echo(f"stopped {server.model} (process {server.pid})")


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the state as JSON.")
def status(state: Path, as_json: bool) -> None:
    """Say whether a server runs, whether its workers are ready, and whether a picture is answered.

    Ends with status 0 if it is ready, with 1 if not.
    """
    server = Server.find(state)
    found = _status(server)
    if as_json:
        click.echo(json.dumps(found))
    elif server is None:
        click.echo(f"no server runs with {state}")
    else:
        click.echo(f"{server.model}: {'ready' if found['ready'] else 'not ready'}")
        for name in ("inference", "management", "metrics"):
            click.echo(f"  {name:<11} {server.ports.url(name)}")
        for worker in found["workers"]:
            click.echo(f"  worker {worker['id']:<4} {worker['status']}, process {worker['pid']}")
    if not found["ready"]:
        raise click.exceptions.Exit(1)


def ignore_endings() -> None:
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)


def interrupt(*_: object) -> NoReturn:
    ignore_endings()  # a second one would leave processes behind
    raise KeyboardInterrupt


def _stop_undisturbed(server: Server) -> None:
    ignore_endings()
    server.stop()


def _watch(server: Server) -> NoReturn:
    while server.running():
        time.sleep(1)
    raise ServerError(f"TorchServe has ended; if nobody stopped it, see {server.folder / 'logs'}")


def example() -> bytes:
    """A picture of nothing in particular."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(file, "PNG")
    return file.getvalue()


def _status(server: Server | None) -> dict[str, Any]:
    if server is None:
        return {"running": False, "ready": False, "workers": []}
    found: dict[str, Any] = {
        "running": True,
        "ready": False,
        "model": server.model,
        "pid": server.pid,
        "inference": server.ports.url("inference"),
        "management": server.ports.url("management"),
        "metrics": server.ports.url("metrics"),
        "workers": [],
    }
    try:
        found["workers"] = server.client.describe(server.model)["workers"]
        found["ready"] = server.ready(example())
    except ServerError as error:
        found["error"] = str(error)
    return found
