"""What this project set out to reach, and what it has."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from ..table import table
from .figures import Result, best_of, best_other, p50_alone, p99_at, systems_of


class Target(NamedTuple):
    """A ratio that should be at least, or at most, as large as said."""

    what: str
    aim: float
    ratio: float
    at_least: bool = True

    def row(self) -> list[str]:
        reached = self.ratio >= self.aim if self.at_least else self.ratio <= self.aim
        sign = ">=" if self.at_least else "<="
        found = f"**{self.ratio:.2f}**" if reached else f"{self.ratio:.2f}, missed"
        return [self.what, f"{sign} {self.aim:g}", found]


def rows(result: Result) -> str:
    found = [each.row() for task in result["tasks"] for each in _OF[task["name"]](task)]
    return table(["Falconet / other", "target", "measured"], found)


def _cifar(task: Result) -> Iterator[Target]:
    ours, noop, stock = systems_of(task)[:3]
    own = best_of(task, ours)
    yield Target(
        "CIFAR-10: highest throughput, to the stock handler", 20, own / best_of(task, stock)
    )
    yield Target("the same, to the no-op handler", 0.35, own / best_of(task, noop))
    if task["peers"]:
        other, ratio = best_other(task)
        yield Target(f"the same, to the best other server ({other})", 7, ratio)
    if task["open"]:
        ratio = p99_at(task, ours, 0.7) / p99_at(task, noop, 0)
        yield Target(
            "p99 latency at 70 % of it, to the no-op handler at the same rate",
            3,
            ratio,
            at_least=False,
        )
    ratio = p50_alone(task, ours) / p50_alone(task, stock)
    what = "p50 latency of one connection, to the stock handler"
    yield Target(what, 0.25, ratio, at_least=False)


def _resnet(title: str, aim: float, task: Result) -> Iterator[Target]:
    ours, _, stock = systems_of(task)[:3]
    ratio = best_of(task, ours) / best_of(task, stock)
    yield Target(f"{title}: highest throughput, to the stock handler", aim, ratio)


def _one_layer(task: Result) -> Iterator[Target]:
    ours, noop = systems_of(task)[:2]
    ratio = best_of(task, ours) / best_of(task, noop)
    yield Target("one layer: highest throughput, to the no-op handler", 0.7, ratio)


_OF = {
    "cifar": _cifar,
    "resnet18": partial(_resnet, "ResNet-18", 6),
    "resnet50": partial(_resnet, "ResNet-50", 8),
    "one_layer": _one_layer,
}
