"""The capacity plan's arithmetic."""

import pytest

from benchmarks.capacity.__main__ import HOURS, UTILISATION, Cost, Plan, core_seconds


def test_a_plan_is_enough_but_for_one() -> None:
    cost = Cost(core_seconds=0.001, size=1000)
    plan = Plan.of(100_000, cost, cores=2, core_hour=0.5)
    each = 2 * UTILISATION / cost.core_seconds
    assert (plan.replicas - 1) * each >= 100_000 > (plan.replicas - 2) * each
    assert plan.cores == 2 * plan.replicas
    assert plan.price == pytest.approx(plan.cores * HOURS * 0.5)
    assert plan.gigabits == pytest.approx(0.8)
    # Of three equal zones any two are.
    assert plan.across_zones % 3 == 0
    assert plan.across_zones / 3 * 2 * each >= 100_000
    assert (plan.across_zones / 3 - 1) * 2 * each < 100_000


def test_there_are_two_for_however_little() -> None:
    assert Plan.of(1, Cost(0.001, 1000), cores=2, core_hour=0.04).replicas == 2


def test_a_core_is_what_the_server_used_where_it_answered_most() -> None:
    def rounds(connections: int, *found: tuple[float, float]) -> dict[str, object]:
        used = [{"throughput": rate, "server_cores": cores} for rate, cores in found]
        return {"system": "ours", "connections": connections, "rounds": used}

    closed = [rounds(1, (100, 0.9)), rounds(8, (1000, 2.0), (800, 2.0), (1200, 1.8))]
    other = {"system": "theirs", "connections": 1, "rounds": [{"throughput": 9e9}]}
    assert core_seconds({"closed": [*closed, other]}) == pytest.approx(0.002)
