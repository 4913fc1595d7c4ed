"""falconet deploy, undeploy, rollback, canary, models and scale"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import psutil

from falconet.serving import rollout
from falconet.serving.canary import Trial
from falconet.serving.canary import canary as try_out
from falconet.serving.errors import ServerError
from falconet.serving.memory import Need, check_fits
from falconet.serving.record import Record, lock_models
from falconet.serving.server import Server

from .option import RenamedOption
from .serve import STATE, handle_stop_signals, say, state_option

ARCHIVE = click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
TRIAL = Trial()
Command = TypeVar("Command", bound=Callable[..., Any])


def states_option(
    help: str = "Repeat for several servers; either all of them change or none.",
) -> Callable[[Command], Command]:
    return click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Path(file_okay=False, path_type=Path),
        default=[STATE],
        show_default=True,
        help=f"Folder for the state of one server. {help}",
    )


@click.command()
@ARCHIVE
@states_option()
def deploy(archive: Path, states: Sequence[Path]) -> None:
    """Replaces the current version of a model with ARCHIVE without failed requests, or adds a new
    model.

    A model is added if none of the archive's name runs; other models are not affected.

    The archive is verified, copied into the model store, started beside the current version, and
    tested with the samples in it. Then it gets the requests; the previous version finishes its
    requests and is stopped. If a step before that fails, the current version continues to serve. If
    the command is interrupted, repeat it: it completes or reverts the change.
    """
    handle_stop_signals()
    release = rollout.deploy([running(state) for state in states], archive, say)
    say(f"deployed {release.version} ({release.file})")


@click.command()
@click.argument("model")
@states_option("Repeat for several servers.")
def undeploy(model: str, states: Sequence[Path]) -> None:
    """Removes MODEL from the server; other models are not affected.

    The gateway answers 404 for it from then on. Requests that the model already has are answered
    before its workers are stopped. The last model of a server and the default model of its gateway
    cannot be removed.
    """
    handle_stop_signals()
    rollout.undeploy([running(state) for state in states], model, say)


@click.command()
@click.argument("model", required=False)
@click.option(
    "--to",
    metavar="VERSION",
    help="One of the last versions that served.  [default: the previous one]",
)
@states_option()
def rollback(model: str | None, to: str | None, states: Sequence[Path]) -> None:
    """Replaces the current version of MODEL with the previous one.

    Repeated, it goes back further; `--to` with a later version undoes a rollback. The server
    keeps the archives of five versions before the current one, and of those that a rollback
    replaced until the next deploy. MODEL is required if several models run. The
    replacement works as in `falconet deploy`.
    """
    handle_stop_signals()
    servers = [running(state) for state in states]
    release = rollout.rollback(servers, servers[0].named(model), say, to)
    say(f"deployed {release.version} ({release.file})")


@click.command()
@ARCHIVE
@click.option(
    "--percent",
    type=click.IntRange(1, 99),
    default=TRIAL.percent,
    show_default=True,
    help="Share of the requests sent to the new version, in percent.",
)
@click.option(
    "--duration",
    cls=RenamedOption,
    formerly="--seconds",
    default=TRIAL.duration,
    show_default=True,
    help="Seconds of the trial.",
)
@click.option(
    "--max-error-rate",
    cls=RenamedOption,
    formerly="--failed",
    default=TRIAL.max_error_rate,
    show_default=True,
    help="Maximum ratio of its responses with status 5xx, unless the current version fails as "
    "often.",
)
@click.option(
    "--max-latency-ratio",
    cls=RenamedOption,
    formerly="--slower",
    default=TRIAL.max_latency_ratio,
    show_default=True,
    help="Maximum ratio of its p95 latency to that of the current version; a difference of "
    "5 ms is always allowed.",
)
@click.option(
    "--min-requests",
    cls=RenamedOption,
    formerly="--requests",
    default=TRIAL.min_requests,
    show_default=True,
    help="Minimum number of its responses for a decision to deploy it.",
)
@state_option
def canary(archive: Path, state: Path, **trial: Any) -> None:
    """Sends a share of the requests to ARCHIVE for some time and deploys it if it passes.

    The gateway, which has to run, selects these requests. If ARCHIVE fails, is too slow, or gets
    too few requests for a decision, the current version continues to serve all of them.
    """
    handle_stop_signals()
    release = try_out(running(state), archive, Trial(**trial), say)
    say(f"deployed {release.version} ({release.file})")


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def models(state: Path, as_json: bool) -> None:
    """Lists the models of a server: versions, workers, memory, waiting and answered requests."""
    rows = _rows(running(state))
    if as_json:
        click.echo(json.dumps(rows))
        return
    click.echo(
        f"{'model':<16} {'version':<10} {'workers':<10} {'MB':>6} {'waiting':>8} {'answered':>9}"
    )
    for row in rows:
        ready = f"{row['ready']}/{row['workers']}"
        version = row["version"] + ("*" if row["default"] else "")
        click.echo(
            f"{row['model']:<16} {version:<10} {ready:<10} {row['memory'] / 1e6:>6.0f} "
            f"{row['waiting']:>8} {row['answered']:>9}"
        )
    click.echo("* answers requests that name no version")


@click.command()
@click.argument("workers", type=click.IntRange(1))
@click.option("--model", help="Required if several models run.")
@state_option
def scale(workers: int, model: str | None, state: Path) -> None:
    """Sets the number of WORKERS of a model.

    It is kept when the server is restarted, and for later versions whose archives do not state
    their own.

    If WORKERS is smaller than now, TorchServe kills the surplus workers; their running requests get
    status 500.
    """
    server = running(state)
    model = server.named(model)
    with lock_models(server.folder):
        more = workers - len(server.client.describe(model)["workers"])
        release = Record.load(server.folder)[model].serving
        check_fits([Need(model, max(0, more), server.store / release.file)])
        server.scale(model, workers)
    click.echo(f"{model}: {workers} workers")


def running(state: Path) -> Server:
    server = Server.find(state)
    if server is None:
        raise ServerError(f"no server runs with {state}; start one with: falconet serve")
    return server


def _rows(server: Server) -> list[dict[str, Any]]:
    rows = []
    client = server.client
    for model in client.models():
        default = client.describe(model)["modelVersion"]
        for found in client.versions(model):
            version = found["modelVersion"]
            workers = found["workers"]
            rows.append(
                {
                    "model": model,
                    "version": version,
                    "default": version == default,
                    "workers": len(workers),
                    "ready": sum(worker["status"] == "READY" for worker in workers),
                    "memory": sum(_memory(worker["pid"]) for worker in workers),
                    "waiting": found["jobQueueStatus"]["pendingRequests"],
                    "answered": client.counted(model, version).answered,
                }
            )
    return rows


def _memory(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except (psutil.Error, ValueError):  # it has just gone, or not come yet, which is -1
        return 0
