"""Measures serving from outside, beside other handlers and other servers.

    .venv/bin/python -m benchmarks.throughput [--quick] [--task cifar|resnet18|resnet50|one_layer]

Every answer's label is compared with the one found offline. Load comes from this machine, from one
thread, and takes its share of the cores; how much is written down. Writes
benchmarks/results/throughput.json, and the tables and plots of docs/serving.md; with --quick, which
takes a minute or two, it prints one screen and writes into build/throughput/ instead.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from rich.progress import Progress

from .. import document, rounds, system, task
from ..peers.peer import ALL, IN_INT8, peer
from ..progress import progress
from . import plot, report

TITLES = {
    "cifar": "The included CIFAR-10 model, 32x32 images",
    "resnet18": "ResNet-18 at 224, 500x375 photographs",
    "resnet50": "ResNet-50 at 224, 500x375 photographs",
    "one_layer": "A network of one layer, 32x32 images",
}
TASKS = {
    "cifar": task.cifar,
    "resnet18": task.resnet,
    "resnet50": partial(task.resnet, 50),
    "one_layer": task.one_layer,
}
ROUNDS, PEER_ROUNDS = 3, 2
FEW_CONNECTIONS = (1, 8, 32)
CONNECTIONS = {"cifar": (1, 2, 4, 8, 16, 32, 64), "one_layer": FEW_CONNECTIONS}
FEWER = (1, 4, 16, 32)  # of which other servers answer fewer
SECONDS = {"cifar": 2.0, "one_layer": 2.0}
LONGER = 3.0
# Whose latency at a fixed rate is measured too, and other servers beside it.
IN_FULL = ("cifar",)
SHARES = (0.5, 0.7, 0.9)  # of a system's own highest throughput


def measure(name: str, quick: bool, bars: Progress) -> dict[str, Any]:
    """One task on all systems."""
    conditions = document.conditions()
    connections = FEW_CONNECTIONS if quick else CONNECTIONS.get(name, FEWER)
    seconds = 2.0 if quick else SECONDS.get(name, LONGER)
    how = (2 if quick else ROUNDS, seconds, bars)
    with ExitStack() as stack:
        given = stack.enter_context(TASKS[name]())
        makers = [system.falconet(given), system.noop(given), system.stock(given)]
        if not quick:
            makers.append(system.stock(given, tuned=True))
        systems = [stack.enter_context(maker) for maker in makers]
        closed = rounds.closed(systems, connections, *how)
        opened, peers = [], []
        if name in IN_FULL and not quick:
            ours, ceiling = systems[:2]
            rates = list(rates_of(rounds.highest(closed), ours.name, ceiling.name))
            opened = rounds.opened(systems, rates, *how)
            others = [(each, False) for each in ALL]
            if given.precision == "int8":
                others += [(each, True) for each in IN_INT8]
            for each, int8 in others:
                with peer(each, given, int8=int8) as other:
                    few = (FEW_CONNECTIONS, PEER_ROUNDS, seconds, bars)
                    peers.append(rounds.closed([ours, other], *few))
    return {
        "name": name,
        "title": TITLES[name],
        "images": len(given.images),
        "precision": given.precision,
        "rounded_differently": sum(
            a != b for a, b in zip(given.float32, given.served, strict=True)
        ),
        "closed": closed,
        "open": opened,
        "peers": peers,
        "how": f"{how[0]} rounds of {seconds:.0f} s each"
        + (f", {PEER_ROUNDS} beside each other server" if peers else ""),
        **conditions,
    }


def rates_of(
    best: dict[str, tuple[int, float]], ours: str, ceiling: str
) -> Iterator[dict[str, Any]]:
    """Each system at shares of its own highest throughput, and the ceiling at ours."""
    for name, (_, throughput) in best.items():
        for share in SHARES:
            yield {"system": name, "share": share, "rate": share * throughput}
    if ours in best and ceiling in best:
        yield {"system": ceiling, "share": 0.0, "rate": 0.7 * best[ours][1]}


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short rounds, into build/")
    parser.add_argument("--only-page", action="store_true", help="write the page anew, unmeasured")
    parser.add_argument(
        "--task", choices=TITLES, action="append", help="measure it alone; may be repeated"
    )
    arguments = parser.parse_args()
    quick = arguments.quick
    if arguments.only_page:
        result = document.load("throughput")
    else:
        names = arguments.task or (["cifar"] if quick else list(TITLES))
        # Of the tasks that are left out, what was measured before stays.
        before = document.load("throughput")["tasks"] if arguments.task and not quick else []
        found = {each["name"]: each for each in before}
        with progress() as bars:
            for name in names:
                found[name] = measure(name, quick, bars)
                result = {"tasks": [found[each] for each in TITLES if each in found]}
                document.keep("throughput", result, quick)  # a later one may fail
    print(report.page(result))
    if not quick:
        plot.draw(result, document.DOCS)
        document.write(document.DOCS / "serving.md", "throughput", report.page(result))


if __name__ == "__main__":
    main()
