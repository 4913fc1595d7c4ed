"""Computes, on paper, what it takes to answer a thousand to ten million requests a second.

    .venv/bin/python -m benchmarks.capacity [--core-hour 0.04] [--gateway 300]

What a core answers is in benchmarks/results/throughput.json, what a replica has in
deploy/kubernetes/deployment.yaml; nothing is measured. Writes the table of docs/deployment.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, median
from typing import Any, NamedTuple

import yaml

from .. import document
from ..rounds import highest
from ..table import table
from ..task import large_images, small_images
from ..throughput.figures import Result, rounds_of, systems_of

MANIFEST = document.ROOT / "deploy" / "kubernetes" / "deployment.yaml"
RATES = (1_000, 100_000, 10_000_000)  # requests/s
UTILISATION = 0.7  # at which latency is measured as well; the autoscaler's target
LEAST = 2  # replicas
ZONES = 3
HOURS = 730  # of a month
IMAGES: dict[str, Callable[[], list[bytes]]] = {
    "cifar": small_images,
    "resnet18": large_images,
}


@dataclass(frozen=True)
class Cost:
    """What a request takes.

    Attributes:
        core_seconds: of the server and the gateway.
        size: bytes of the image, on average.
    """

    core_seconds: float
    size: float


class Plan(NamedTuple):
    """What a load takes.

    Attributes:
        replicas: that answer it, and one more.
        across_zones: that answer it without one of three zones.
        cores: of the replicas.
        price: of the cores, a month.
        gigabits: of images, a second.
    """

    replicas: int
    across_zones: int
    cores: int
    price: float
    gigabits: float

    @classmethod
    def of(cls, rate: float, cost: Cost, cores: int, core_hour: float) -> "Plan":
        """For a rate of requests a second, on replicas of so many cores at a price an hour."""
        needed = max(1, math.ceil(rate * cost.core_seconds / (cores * UTILISATION)))
        replicas = max(LEAST, needed + 1)
        # Shared out evenly; what is left without one zone has to be enough.
        across = ZONES * math.ceil(needed / (ZONES - 1))
        price = replicas * cores * HOURS * core_hour
        return cls(replicas, across, replicas * cores, price, 8 * rate * cost.size / 1e9)


def core_seconds(task: Result) -> float:
    """Of the server, for a request, where it answers most of them."""
    ours = systems_of(task)[0]
    connections, _ = highest(task["closed"])[ours]
    rounds = rounds_of(task, ours, connections)
    return median(each["server_cores"] / each["throughput"] for each in rounds)


def replica_cores(manifest: dict[str, Any]) -> int:
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return int(container["resources"]["limits"]["cpu"])


def page(result: Result, core_hour: float, gateway: float) -> str:
    """The table, and what it is computed from."""
    cores = replica_cores(yaml.safe_load(MANIFEST.read_text()))
    head = [
        *("requests/s", f"replicas of {cores} cores, one spare", "cores", "cost per month"),
        *(f"replicas, if one zone of {ZONES} may fail", "images, Gbit/s"),
    ]
    rows, about = [], []
    for task in result["tasks"]:
        size = mean(map(len, IMAGES[task["name"]]()))
        server = core_seconds(task)
        cost = Cost(server + gateway / 1e6, size)
        rows.append([f"**{task['title']}**", *[""] * (len(head) - 1)])
        for rate in RATES:
            plan = Plan.of(rate, cost, cores, core_hour)
            numbers = (rate, plan.replicas, plan.cores, plan.price, plan.across_zones)
            rows.append([*(f"{each:,.0f}" for each in numbers), _three_digits(plan.gigabits)])
        about.append(
            f"{task['name']}: {1 / server:.0f} requests/s for each core that the server uses, "
            f"{size / 1000:.1f} kB per image"
        )
    processor = result["machine"].partition(";")[0].rpartition(", ")[0]
    return (
        f"{table(head, rows)}\n\nComputed by `{document.command('capacity')}`, not measured: "
        f"{'; '.join(about)}, from the figures in [serving.md](serving.md). "
        f"Assumptions: nginx takes {gateway:.0f} µs of CPU time per request; cores are used to "
        f"{UTILISATION:.0%}; a core-hour costs {core_hour:g}, in any currency; a month has {HOURS} "
        f"hours; {cores} cores of another machine are as fast as those of {processor}.\n"
    )


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--core-hour", type=float, default=0.04, help="its price")
    parser.add_argument("--gateway", type=float, default=300, help="of nginx, µs of a core")
    arguments = parser.parse_args()
    text = page(document.load("throughput"), arguments.core_hour, arguments.gateway)
    document.write(document.DOCS / "deployment.md", "capacity", text)


if __name__ == "__main__":
    main()
