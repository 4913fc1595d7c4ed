"""Watches a worker's memory while it answers a million requests.

    .venv/bin/python -m benchmarks.memory [--requests N]

One worker, the shipped model, every answer checked. Writes benchmarks/results/memory.json,
docs/memory.svg and the lines in docs/serving.md. Takes a quarter of an hour or more; nothing of it
is timed, so that the machine may do other things.
"""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from falconet.model.archive import Serving

from .. import document, plots, rounds, system, task
from ..load_generator.load import closed_loop
from ..progress import progress
from ..table import counts, table
from ..usage import usage

CONNECTIONS = 32
SECONDS = 5.0
SETTLED = 50_000  # requests


def watch(served: system.System, requests: int) -> dict[str, Any]:
    """Memory after every few seconds of load."""
    java = served.java()
    (worker,) = java.children()
    samples: list[dict[str, float]] = []
    errors = Counter[str]()
    done = 0
    with progress() as bars:
        bar = bars.add_task("requests", total=requests)
        while done < requests:
            load = partial(closed_loop, served.target, CONNECTIONS, SECONDS, done)
            found = rounds.measure(served, load)
            done += found["requests"]
            errors.update(found["errors"])
            memory = {"worker": usage([worker]).memory, "java": usage([java]).memory}
            samples.append({"requests": done, **memory})
            bars.update(bar, completed=done)
    return {"requests": done, "errors": errors, "samples": samples}


def growth(samples: list[dict[str, float]], name: str) -> list[str]:
    """Of a process, from when it should have settled: MB, and MB for 100,000 more requests."""
    settled = [each for each in samples if each["requests"] >= SETTLED]
    requests = np.array([each["requests"] for each in settled])
    memory = np.array([each[name] for each in settled]) / 1e6
    slope, _ = np.polyfit(requests / 1e5, memory, 1)
    return [*(f"{value:.1f}" for value in (memory[0], memory.max(), memory[-1])), f"{slope:+.3f}"]


def page(result: dict[str, Any]) -> str:
    head = ["MB", f"after {SETTLED:,} requests", "highest after that", "at the end"]
    rows = [[name, *growth(result["samples"], name)] for name in ("worker", "java")]
    return (
        f"{table([*head, 'growth per 100,000 requests'], rows)}\n\n{result['requests']:,} requests "
        f"on {CONNECTIONS} connections; {counts(result['errors']) or 'all responses correct'}. "
        f"Private memory of the process, measured every {SECONDS:.0f} s. "
        f"{document.measured('memory', result['machine'])}\n"
    )


def plot(result: dict[str, Any], path: Path) -> None:
    drawn = plots.figure(8, 2.4)
    axes = drawn.add_subplot()
    requests = [each["requests"] for each in result["samples"]]
    for name, color in (("worker", plots.OURS), ("java", plots.PEER)):
        memory = [each[name] / 1e6 for each in result["samples"]]
        axes.plot(requests, memory, color=color, lw=1)
        plots.beside(axes, (requests[-1], memory[-1]), name, color)
    axes.set_ylim(0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("requests answered", color=plots.TEXT)
    axes.set_ylabel("MB", color=plots.TEXT)
    plots.save(drawn, path)


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    requests = parser.parse_args().requests
    if requests < 2 * SETTLED:
        parser.error(f"expected at least {2 * SETTLED} requests, to see whether memory grows")
    result = document.conditions()
    with task.cifar() as cifar, system.falconet(cifar, serving=Serving(workers=1)) as served:
        result |= watch(served, requests)
    print(page(result))
    plot(result, document.keep("memory", result) / "memory.svg")
    document.write(document.DOCS / "serving.md", "memory", page(result))


if __name__ == "__main__":
    main()
