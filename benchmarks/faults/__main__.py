"""Brings about what may go wrong with a server, and measures what becomes of its promises.

    .venv/bin/python -m benchmarks.faults [--quick]

Needs nginx. The real server with the shipped model, behind the gateway with its usual limits; every
answer's label is compared with the one found offline. Writes benchmarks/results/faults.json,
docs/faults.svg and the table in docs/operations.md; with --quick, which takes some minutes, it
prints the table and writes into build/faults/ instead.
"""

from typing import Any

from rich.progress import Progress

from falconet.serving.rollout import deploy

from .. import document
from ..progress import progress
from . import death, neighbours, overload, report, slow
from .stack import Stack

KILL_RATE = 300.0  # requests a second, if that is no more than the share of the capacity
NEIGHBOUR_RATE = 200.0
SLOW_RATE = 100.0
SHARE = 0.5


def measure(stack: Stack, quick: bool, bars: Progress) -> dict[str, Any]:
    """One promise after the other; the server is killed last."""
    result: dict[str, Any] = {}
    steps = bars.add_task("overload", total=5)
    result["overload"] = overload.measure(stack, 10.0 if quick else 60.0)
    most = SHARE * result["overload"]["capacity"]["throughput"]
    bars.update(steps, advance=1, description="hostile requests")
    count = 1_000 if quick else 10_000
    bar = bars.add_task("of them", total=count)
    result["neighbours"] = neighbours.measure(
        stack, min(NEIGHBOUR_RATE, most), count, count, lambda: bars.advance(bar)
    )
    bars.remove_task(bar)
    bars.update(steps, advance=1, description="slow clients")
    result["slow"] = slow.measure(stack, min(SLOW_RATE, most), 12.0 if quick else 60.0)
    bars.update(steps, advance=1, description="workers killed")
    result["worker"] = death.kill_workers(stack, min(KILL_RATE, most), 2 if quick else 5)
    bars.update(steps, advance=1, description="Java killed")
    deploy([stack.server], stack.release("2.0"))
    result["java"] = death.kill_java(stack, min(KILL_RATE, most))
    bars.update(steps, advance=1, description="all done")
    return result


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="short forms, into build/")
    quick = parser.parse_args().quick
    result = document.conditions()
    with progress() as bars, Stack.of_cifar() as stack:
        result |= measure(stack, quick, bars)
    print(report.page(result))
    report.plot(result, document.keep("faults", result, quick) / "faults.svg")
    if not quick:
        document.write(document.DOCS / "operations.md", "faults", report.page(result))


if __name__ == "__main__":
    main()
