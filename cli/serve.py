"""falconet serve, stop and status"""

import contextlib
import json
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, get_args

import click

from falconet.model.samples import example
from falconet.serving.configuration import DEFAULT as DEFAULT_CONFIG
from falconet.serving.configuration import WORKERS, Configuration
from falconet.serving.errors import ServerError
from falconet.serving.page_server import serve_page
from falconet.serving.profile import Name as ProfileName
from falconet.serving.profile import Profile
from falconet.serving.readiness import Readiness
from falconet.serving.server import Server
from falconet.serving.store import check_ours

from .archive import DEFAULT_OUTPUT as DEFAULT_ARCHIVE
from .archive import make_archive
from .option import RenamedOption

STATE = Path(".falconet")
PAGE_PORT = 8090
PORT = click.IntRange(0, 65535)
PORT_DEFAULT = "[default: the port in --config; 0: any free port]"
# Ctrl-C, a supervisor that ends us, a terminal that closes: all mean the same.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=STATE,
    show_default=True,
    help="Folder for the state and logs of one server.",
)

drain_option = click.option(
    "--drain-seconds",
    default=10.0,
    show_default=True,
    help="Maximum time for the requests that the server already has, before it stops.",
)

_SERVER_OPTIONS = (
    click.argument("archives", nargs=-1, type=click.Path(dir_okay=False, path_type=Path)),
    click.option(
        "--management-port", type=PORT, help=f"Port of the management API.  {PORT_DEFAULT}"
    ),
    click.option("--metrics-port", type=PORT, help=f"Port of the metrics.  {PORT_DEFAULT}"),
    click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        default=DEFAULT_CONFIG,
        help="TorchServe's config.properties.  [default: the included file]",
    ),
    click.option(
        "--profile",
        type=click.Choice(["auto", *get_args(ProfileName)]),
        default="auto",
        show_default=True,
        help="Kind of machine; sets the workers, threads and memory that --config leaves open.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Workers of each model whose archive does not state them.  [default: by --profile, as "
        "many as fit into memory]",
    ),
    click.option(
        "--image",
        cls=RenamedOption,
        formerly="--picture",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Image of the test request to each model.  [default: a generated image]",
    ),
    state_option,
)
START_TIMEOUT: dict[str, Any] = {
    "default": 120.0,
    "show_default": True,
    "help": "Maximum seconds until all models are ready.",
}
Command = TypeVar("Command", bound=Callable[..., Any])


def server_options(command: Command) -> Command:
    """What :func:`start` takes, but for the port of predictions."""
    for option in reversed(_SERVER_OPTIONS):
        command = option(command)
    return command


def start(
    archives: Sequence[Path],
    port: int | None,
    management_port: int | None,
    metrics_port: int | None,
    config: Path,
    profile: ProfileName | Literal["auto"],
    workers: int | None,
    state: Path,
) -> Server:
    """A server that has yet to load its models."""
    configuration = Configuration.load(config, port, management_port, metrics_port)
    resources = Profile.of_machine(profile)
    if workers is not None:
        configuration = configuration.changed({WORKERS: str(workers)})
        resources = resources.at_most(workers * max(1, len(archives)))
    if not archives:
        archives = [DEFAULT_ARCHIVE]
        if not DEFAULT_ARCHIVE.exists():
            click.echo(f"packing the included CIFAR-10 model into {DEFAULT_ARCHIVE}")
            make_archive(None, DEFAULT_ARCHIVE)
    check_ours(archives)
    handle_stop_signals()
    return Server.start(archives, state, configuration, resources)


@click.command()
@click.option("--port", type=PORT, help=f"Port of predictions.  {PORT_DEFAULT}")
@server_options
@click.option("--start-timeout", cls=RenamedOption, formerly="--timeout", **START_TIMEOUT)
@click.option(
    "--background", is_flag=True, help="Return when ready; stop the server with: falconet stop"
)
@click.option(
    "--page",
    is_flag=True,
    help="Serve a web page to try the models, on this machine only and without API keys. Not with "
    "--background: use `falconet gateway` there, which serves the same page.",
)
@click.option(
    "--page-port",
    type=PORT,
    default=PAGE_PORT,
    show_default=True,
    help="Port of the page; 0: any free port.",
)
@drain_option
def serve(
    archives: Sequence[Path],
    port: int | None,
    management_port: int | None,
    metrics_port: int | None,
    config: Path,
    profile: ProfileName | Literal["auto"],
    workers: int | None,
    image: Path | None,
    background: bool,
    page: bool,
    page_port: int,
    start_timeout: float,
    drain_seconds: float,
    state: Path,
) -> None:
    """Serves ARCHIVES with TorchServe, one model each, until Ctrl-C.

    On Ctrl-C the server answers the requests that it already has, for at most --drain-seconds.
    Requests that arrive later may fail; to avoid that, run `falconet gateway` in front of it, or
    use `falconet up`.

    ARCHIVES are files made by `falconet archive`.  [default: build/model_store/cifar10.mar, packed
    from the included CIFAR-10 weights if it does not exist] Several models share the cores.

    A restart with the same ARCHIVES keeps the versions deployed since; a start with other ARCHIVES
    discards them.

    Prints `ready` when every worker has loaded its model and each model has answered a test
    request.
    """
    if page and background:
        raise click.UsageError(
            "--page cannot be combined with --background, because the page runs in this process; "
            "use `falconet gateway`, whose page is at /"
        )
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        # Before TorchServe, whose start takes seconds, in case that the port is taken.
        shown = stack.enter_context(serve_page(page_port, state)) if page else None
        server = start(
            archives, port, management_port, metrics_port, config, profile, workers, state
        )
        stack.enter_context(stop_on_exit(server.stop))
        image = image or written_example(state)
        server.wait_ready(image.read_bytes(), start_timeout)
        click.echo(f"ready: {what(server)}, after {time.monotonic() - began:.1f} s. Try:")
        for model in server.models:
            url = server.client.prediction_url(model)
            click.echo(f"curl -X POST -F {shlex.quote(f'image=@{image}')} {url}")
        if shown is not None:
            shown.inference = server.ports.inference
            click.echo(f"page: {shown.url}")
        if not background:
            click.echo("Ctrl-C stops it.")
            _watch(server, drain_seconds)


@click.command()
@drain_option
@state_option
def stop(state: Path, drain_seconds: float) -> None:
    """Stops the server that `falconet serve` started with this --state.

    The server first answers the requests that it already has, for at most --drain-seconds.
    """
    server = Server.find(state)
    if server is None:
        click.echo(f"no server runs with {state}")
        return
    if not server.drain(drain_seconds):
        click.echo(f"not all requests were answered within {drain_seconds:g} seconds")
    server.stop()
    click.echo(f"stopped {', '.join(server.models)} (process {server.pid})")


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the state as JSON.")
def status(state: Path, as_json: bool) -> None:
    """Reports whether a server runs, its workers are ready, and its models answer a test request.

    The exit status is 0 if it is ready, and 1 if not.
    """
    server = Server.find(state)
    found = _status(server)
    if as_json:
        click.echo(json.dumps(found))
    elif server is None:
        click.echo(f"no server runs with {state}")
    else:
        names = ", ".join(server.models)
        click.echo(f"{names}: {'ready' if found['ready'] else 'not ready'}")
        for name in ("inference", "management", "metrics"):
            click.echo(f"  {name:<11} {server.ports.url(name)}")
        for worker in found["workers"]:
            click.echo(
                f"  worker {worker['id']:<4} {worker['status']}, process {worker['pid']}, "
                f"{worker['model']}"
            )
    if not found["ready"]:
        raise click.exceptions.Exit(1)


def handle_stop_signals() -> None:
    """Have each of :data:`ENDINGS` raise KeyboardInterrupt; under nohup, SIGHUP stays ignored."""
    for number in ENDINGS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def ignore_stop_signals() -> None:
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)


def interrupt(*_: object) -> NoReturn:
    ignore_stop_signals()  # a second one would leave processes behind
    raise KeyboardInterrupt


def say(text: str) -> None:
    """Print a line, if there is still somebody to read it."""
    with contextlib.suppress(OSError):  # the terminal is closed
        click.echo(text)


@contextlib.contextmanager
def stop_on_exit(stop: Callable[[], None]) -> Iterator[None]:
    """Whatever ends the block early, it is stopped undisturbed; Ctrl-C is no error."""
    try:
        yield
    except BaseException as error:
        ignore_stop_signals()
        stop()
        if not isinstance(error, KeyboardInterrupt):
            raise
        say("stopped")


def what(server: Server) -> str:
    """The models of a server, with their versions and how many workers they have."""
    described = [server.client.describe(model) for model in server.models]
    return "; ".join(
        f"{each['modelName']} {each['modelVersion']}, workers: {len(each['workers'])}"
        for each in described
    )


def _watch(server: Server, drain_seconds: float) -> NoReturn:
    try:
        while server.running():
            time.sleep(1)
    except KeyboardInterrupt:
        server.drain(drain_seconds)
        raise
    raise ServerError(f"TorchServe has ended; if nobody stopped it, see {server.folder / 'logs'}")


def written_example(state: Path) -> Path:
    path = state / "example.png"
    path.write_bytes(example())
    return path


def _status(server: Server | None) -> dict[str, Any]:
    if server is None:
        return {"running": False, "ready": False, "workers": []}
    found: dict[str, Any] = {
        "running": True,
        "ready": False,
        "models": server.models,
        "pid": server.pid,
        "inference": server.ports.url("inference"),
        "management": server.ports.url("management"),
        "metrics": server.ports.url("metrics"),
        "workers": [],
    }
    try:
        found["workers"] = [
            {"model": model, **worker}
            for model in server.models
            for worker in server.client.describe(model)["workers"]
        ]
        found["ready"] = Readiness(server, example()).check(server.models)
    except ServerError as error:
        found["error"] = str(error)
    return found
