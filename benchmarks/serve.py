"""Measures serving from outside, beside other handlers and other servers.

    .venv/bin/python benchmarks/serve.py [--quick] [--task cifar|resnet]

Needs the extra `benchmarks`. Every answer's label is compared with the one found offline. Load
comes from this machine, from one thread, and takes its share of the cores; how much is written
down. Writes benchmarks/results/serve.json, and the tables and plots of docs/serving.md; with
--quick, which takes a minute or two, it prints one screen and writes into build/serve/ instead.
"""

import argparse
import json
import os
import tempfile
from contextlib import ExitStack
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from document import DOCS, RESULTS, ROOT, environment, replace_between
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from serving import peer, plot, report, run, system
from serving import task as tasks

DRAFT = ROOT / "build" / "serve"
TITLES = {
    "cifar": "The shipped CIFAR-10 model, 32x32 pictures",
    "resnet": "ResNet-18 at 224, 500x375 photographs",
}

ROUNDS = 5
CONNECTIONS = {"cifar": run.CONNECTIONS, "resnet": (1, 4, 16, 32)}
SECONDS = {"cifar": 2.0, "resnet": 3.0}  # which other servers answer fewer of


def measure(name: str, folder: Path, quick: bool, progress: Progress) -> dict[str, Any]:
    """One task on all systems."""
    task = getattr(tasks, name)(folder / "model")
    makers = [
        partial(system.falconet, task, folder / "falconet"),
        partial(system.noop, task, folder / "noop"),
        partial(system.stock, task, folder / "stock"),
    ]
    if not quick:
        makers.append(partial(system.stock, task, folder / "tuned", tuned=True))
    connections = run.FEW_CONNECTIONS if quick else CONNECTIONS[name]
    rounds, seconds = (2, 2.0) if quick else (ROUNDS, SECONDS[name])
    with ExitStack() as stack:
        systems = run.start(makers, stack)
        closed = run.closed(systems, connections, rounds, seconds, progress)
        opened, peers = [], []
        if not quick:
            names = [each.name for each in systems]
            rates = list(run.rates(run.highest(closed), names[0], names[1]))
            opened = run.opened(systems, rates, rounds, seconds, progress)
            for key in peer.ALL:
                with peer.peer(key, task, folder / key) as other:
                    run.warm_up(other)
                    pair = [systems[0], other]
                    peers.append(run.closed(pair, run.FEW_CONNECTIONS, rounds, seconds, progress))
    return {
        "name": name,
        "title": TITLES[name],
        "pictures": len(task.pictures),
        "rounded_differently": sum(a != b for a, b in zip(task.float32, task.served, strict=True)),
        "closed": closed,
        "open": opened,
        "peers": peers,
        "how": f"{rounds} rounds of {seconds:.0f} s",
    }


def write(result: dict[str, Any]) -> None:
    """Into the docs."""
    plot.draw(result, DOCS)
    replace_between(DOCS / "serving.md", "serve", report.page(result))
    replace_between(ROOT / "README.md", "serve", report.summary(result))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few and short rounds, into build/")
    parser.add_argument("--only-page", action="store_true", help="write the page anew, unmeasured")
    parser.add_argument("--task", choices=TITLES, action="append", help="one of them only")
    arguments = parser.parse_args()
    if arguments.only_page:
        write(json.loads((RESULTS / "serve.json").read_text()))
        return
    load = os.getloadavg()[0]
    names = arguments.task or (["cifar"] if arguments.quick else list(TITLES))
    columns = Progress.get_default_columns()[:-1]
    with (
        tempfile.TemporaryDirectory(prefix="falconet-") as temporary,
        Progress(*columns, MofNCompleteColumn(), TimeElapsedColumn()) as progress,
    ):
        measured = [
            measure(name, Path(temporary, name), arguments.quick, progress) for name in names
        ]
    result = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": environment(),
        "load": load,
        "how": (
            "; ".join(f"{each['name']}: {each['how']} each" for each in measured)
            + ", in shuffled order; given are the median and the lowest and highest round. "
            "Another server runs beside ours alone."
        ),
        "tasks": measured,
    }
    results = DRAFT if arguments.quick else RESULTS
    results.mkdir(parents=True, exist_ok=True)
    (results / "serve.json").write_text(json.dumps(result, indent=1) + "\n")
    if arguments.quick:
        print(report.page(result))
    else:
        write(result)


if __name__ == "__main__":
    main()
