"""What is looked up in the result of a measurement."""

from statistics import median
from typing import Any

from ..rounds import highest

Result = dict[str, Any]

# What ends the name of another server that was given our int8 model.
OUR_MODEL = ", our int8 model"


def systems_of(task: Result) -> list[str]:
    return list(dict.fromkeys(each["system"] for each in task["closed"]))


def rounds_of(task: Result, system: str, connections: int) -> list[Result]:
    for each in task["closed"]:
        if each["system"] == system and each["connections"] == connections:
            rounds: list[Result] = each["rounds"]
            return rounds
    return []


def best_of(task: Result, system: str) -> float:
    _, throughput = highest(task["closed"])[system]
    return throughput


def best_other(task: Result) -> tuple[str, float]:
    """Of the other servers the one with the highest throughput beside ours, and our ratio to it.

    Each with the float32 file, as its users have it.
    """
    ratios = {}
    for found in task["peers"]:
        pair = {"closed": found}
        ours, other = systems_of(pair)  # the first in these rounds is ours
        if other.endswith(OUR_MODEL):
            continue
        ratios[other] = best_of(pair, ours) / best_of(pair, other)
    name = min(ratios, key=lambda each: ratios[each])
    return name, ratios[name]


def p50_alone(task: Result, system: str) -> float:
    """Seconds, with the fewest connections."""
    least = min(each["connections"] for each in task["closed"])
    return median(one["p50"] for one in rounds_of(task, system, least))


def p99_at(task: Result, system: str, share: float) -> float:
    """Seconds, in the open loop at a share of a system's highest; 0 stands for ours."""
    for each in task["open"]:
        if each["system"] == system and each["share"] == share:
            return float(median(one["p99"] for one in each["rounds"]))
    raise LookupError(f"{system} was not measured at {share}")
