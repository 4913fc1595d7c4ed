"""Computes, on paper, what it takes to answer a thousand to ten million requests a second.

    .venv/bin/python benchmarks/capacity.py [--core-hour 0.04] [--gateway 300]

Needs the extra `benchmarks`. What a core answers is in benchmarks/results/serve.json, what a
replica has in deploy/kubernetes/deployment.yaml; nothing is measured. Writes the table of
docs/deployment.md.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import mean, median
from typing import Any, NamedTuple

import yaml
from document import DOCS, RESULTS, ROOT, replace_between
from serving.figures import Result, rounds_of, systems_of
from serving.run import highest
from serving.task import large_pictures, small_pictures

MANIFEST = ROOT / "deploy" / "kubernetes" / "deployment.yaml"
RATES = (1_000, 100_000, 10_000_000)  # requests/s
UTILISATION = 0.7  # at which latency is measured as well; the autoscaler's target
LEAST = 2  # replicas
ZONES = 3
HOURS = 730  # of a month
PICTURES: dict[str, Callable[[], list[bytes]]] = {
    "cifar": small_pictures,
    "resnet": large_pictures,
}


@dataclass(frozen=True)
class Cost:
    """What a request takes.

    Attributes:
        core_seconds: of the server and the gateway.
        size: bytes of the picture, on average.
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
        gigabits: of pictures, a second.
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


def lines(result: Result, core_hour: float, gateway: float) -> Iterator[str]:
    """The table, and what it is computed from."""
    cores = replica_cores(yaml.safe_load(MANIFEST.read_text()))
    yield (
        f"| requests/s | replicas of {cores} cores, one to spare | cores | a month "
        f"| replicas, one zone of {ZONES} to spare | pictures, Gbit/s |"
    )
    yield "| --- | --- | --- | --- | --- | --- |"
    about = []
    for task in result["tasks"]:
        size = mean(map(len, PICTURES[task["name"]]()))
        server = core_seconds(task)
        cost = Cost(server + gateway / 1e6, size)
        yield f"| **{task['title']}** | | | | | |"
        for rate in RATES:
            plan = Plan.of(rate, cost, cores, core_hour)
            yield (
                f"| {rate:,} | {plan.replicas:,} | {plan.cores:,} | {plan.price:,.0f} "
                f"| {plan.across_zones:,} | {_three_digits(plan.gigabits)} |"
            )
        about.append(
            f"{task['name']}: {1 / server:.0f} requests/s of a core that the server uses, "
            f"{size / 1000:.1f} kB a picture"
        )
    yield ""
    yield (
        f"Computed by `benchmarks/capacity.py`, not measured: {'; '.join(about)}, from the figures "
        f"in [serving.md](serving.md). Assumed: {gateway:.0f} µs of a core for nginx, for each "
        f"request; cores used to {UTILISATION:.0%}; {core_hour:g} for a core-hour, in any "
        f"currency; {HOURS} hours a month; that {cores} cores elsewhere are as fast as those of "
        f"{result['machine'].partition(',')[0]}."
    )


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--core-hour", type=float, default=0.04, help="its price")
    parser.add_argument("--gateway", type=float, default=300, help="of nginx, µs of a core")
    arguments = parser.parse_args()
    result = json.loads((RESULTS / "serve.json").read_text())
    text = "\n".join(lines(result, arguments.core_hour, arguments.gateway))
    replace_between(DOCS / "deployment.md", "capacity", f"{text}\n")


if __name__ == "__main__":
    main()
