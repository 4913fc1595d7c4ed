"""falconet deploy, undeploy, rollback, canary, models and scale"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import psutil

from falconet.serving import rollout
from falconet.serving.canary import Trial
from falconet.serving.canary import canary as try_out
from falconet.serving.deployment import START_SECONDS
from falconet.serving.drain import POLL_SECONDS
from falconet.serving.errors import ServerError
from falconet.serving.memory import Need, check_fits
from falconet.serving.record import Record, alone
from falconet.serving.server import Server

from .serve import STATE, state_option

ARCHIVE = click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
TRIAL = Trial()

states_option = click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Path(file_okay=False, path_type=Path),
    default=[STATE],
    show_default=True,
    help="Folder with a server's state; of many servers: all of them change, or none does.",
)


@click.command()
@ARCHIVE
@states_option
def deploy(archive: Path, states: Sequence[Path]) -> None:
    """Replace a served model by ARCHIVE, without an error for those who ask it; or add one.

    Where no model of the archive's name runs, it is started beside the others, which are left
    alone.

    The archive is checked, copied into the model store, started beside the version that serves,
    and asked about the sample pictures that it carries. Then it takes over; the old version answers
    what it has begun, and goes. If anything fails, the old version serves as before. If this
    command is interrupted, repeat it: it finishes or undoes what was left half done.
    """
    release = rollout.deploy([running(state) for state in states], archive, click.echo)
    click.echo(f"deployed {release.version} ({release.file})")


@click.command()
@click.argument("model")
@states_option
def undeploy(model: str, states: Sequence[Path]) -> None:
    """Take MODEL from a server, and leave its other models alone.

    The gateway answers 404 for it from then on; what has come is answered before its workers go.
    The last model of a server stays, and so does the one that a gateway asks by default.
    """
    rollout.undeploy([running(state) for state in states], model, click.echo)


@click.command()
@click.argument("model", required=False)
@states_option
def rollback(model: str | None, states: Sequence[Path]) -> None:
    """Replace MODEL, which may be left out where one only runs, by what served before it.

    In the same way as by a deploy.
    """
    servers = [running(state) for state in states]
    release = rollout.rollback(servers, servers[0].named(model), click.echo)
    click.echo(f"deployed {release.version} ({release.file})")


@click.command()
@ARCHIVE
@click.option(
    "--percent",
    type=click.IntRange(1, 99),
    default=TRIAL.percent,
    show_default=True,
    help="Of the requests, that the new version gets.",
)
@click.option("--seconds", default=TRIAL.seconds, show_default=True, help="For which it does.")
@click.option(
    "--failed",
    default=TRIAL.failed,
    show_default=True,
    help="The highest ratio of its answers that may be 5xx.",
)
@click.option(
    "--slower",
    default=TRIAL.slower,
    show_default=True,
    help="How many times the 95th percentile of seconds of what serves its own may be.",
)
@click.option(
    "--requests",
    default=TRIAL.requests,
    show_default=True,
    help="It has to answer so many to be judged.",
)
@state_option
def canary(archive: Path, state: Path, **trial: Any) -> None:
    """Deploy ARCHIVE if it stands a trial: some of the requests by the gateway, for some time.

    If it fails, is slow, or gets too few requests to tell, the old version serves as before.
    """
    release = try_out(running(state), archive, Trial(**trial), click.echo)
    click.echo(f"deployed {release.version} ({release.file})")


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def models(state: Path, as_json: bool) -> None:
    """List the models of a server: versions, workers, memory, what waits, what was answered."""
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
@click.option("--model", help="May be left out where one only runs.")
@state_option
def scale(workers: int, model: str | None, state: Path) -> None:
    """Run a model with so many WORKERS, until the server is started again.

    Fewer than there are: TorchServe kills those, and what they have begun gets a 500.
    """
    server = running(state)
    model = server.named(model)
    with alone(server.folder):
        more = workers - len(server.client.describe(model)["workers"])
        release = Record.load(server.folder)[model].serving
        check_fits([Need(model, max(0, more), server.store / release.file)])
        server.client.scale(model, workers)
        deadline = time.monotonic() + START_SECONDS
        while not (
            len(server.client.describe(model)["workers"]) == workers
            and server.client.workers_ready(model)
        ):
            if time.monotonic() > deadline:
                raise ServerError(f"{model}: not {workers} workers after {START_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
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
                    "answered": client.counted(model, version)[1],
                }
            )
    return rows


def _memory(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except (psutil.Error, ValueError):  # it has just gone, or not come yet, which is -1
        return 0
