import pytest

from falconet.serving.counts import Counts
from falconet.serving.limits import LEVEL_COUNT, Limits
from falconet.serving.throughput import Throughput


def test_a_slow_model_gets_fewer_requests() -> None:
    limits = Limits(max_concurrency=200, timeout=60)
    small = [limits.concurrency_limits[f"small_{level}"] for level in range(LEVEL_COUNT)]
    assert small == [200, 66, 22, 7, 2]
    assert limits.level(None) == 0, "of another handler: nothing is known"
    assert limits.level(1000.0) == 0
    assert limits.level(200 / 30) == 0
    assert limits.level(6.0) == 1
    assert limits.level(1.0) == 2, "22 requests wait for 22 s, and 66 would for more than 60"
    assert limits.level(0.01) == LEVEL_COUNT - 1
    assert Limits(timeout=1).level(100.0) == 2, "a shorter timeout has the same effect"


def test_larger_requests_get_fewer_as_well() -> None:
    found = Limits().concurrency_limits
    assert [found[f"middling_{level}"] for level in range(LEVEL_COUNT)] == [25, 8, 2, 1, 1]
    assert (found["large"], found["very_large"]) == (5, 2), "shared by all levels"


def counts(succeeded: int, seconds: float, answered: int | None = None) -> Counts:
    return Counts(succeeded, answered or succeeded, succeeded, seconds)


def test_throughput_is_that_of_all_workers() -> None:
    throughput = Throughput()
    throughput.update("1.0", 2, counts(4, 2.0))
    assert throughput.requests_per_second is None, "too few to judge by"
    throughput.update("1.0", 2, counts(10, 5.0))
    assert throughput.requests_per_second == 4.0
    throughput.update("1.0", 2, counts(14, 5.4))
    assert throughput.requests_per_second == 4.0, "too few again"
    throughput.update("1.0", 2, counts(20, 6.0, answered=900))
    assert throughput.requests_per_second == pytest.approx(2 / 0.3), "errors say nothing of it"
    throughput.update("1.0", 1, counts(20, 6.0))
    assert throughput.requests_per_second == pytest.approx(1 / 0.3)


def test_throughput_survives_a_deploy_and_a_restart() -> None:
    throughput = Throughput()
    throughput.update("1.0", 1, counts(1000, 1.0))
    assert throughput.requests_per_second == 1000.0
    throughput.update("2.0", 1, counts(1, 1.0))
    assert throughput.requests_per_second == 1000.0, "as nothing better is known"
    throughput.update("2.0", 1, counts(5, 5.0))
    assert throughput.requests_per_second == 1.0, "a slow version is known at once"
    throughput.update("2.0", 1, counts(1, 0.5))  # a server that was started again
    throughput.update("2.0", 1, counts(6, 3.0))
    assert throughput.requests_per_second == 2.0
