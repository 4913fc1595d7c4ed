from falconet.serving.counts import Counts
from falconet.serving.limits import LEVELS, Limits
from falconet.serving.throughput import Throughput


def test_a_slow_model_gets_fewer_requests() -> None:
    limits = Limits(in_flight=200, answer=60)
    small = [limits.places(level)["small"] for level in range(LEVELS)]
    assert small == [200, 66, 22, 7, 2]
    assert limits.level(None) == 0, "of another handler: nothing is known"
    assert limits.level(1000.0) == 0
    assert limits.level(200 / 30) == 0
    assert limits.level(6.0) == 1
    assert limits.level(1.0) == 2, "22 requests wait for 22 s, and 66 would for more than 60"
    assert limits.level(0.01) == LEVELS - 1
    assert Limits(answer=1).level(100.0) == 2, "a shorter timeout has the same effect"


def test_larger_requests_get_fewer_as_well() -> None:
    limits = Limits()
    assert limits.places(0) == {"small": 200, "middling": 25, "large": 5, "very_large": 2}
    assert limits.places(2) == {"small": 22, "middling": 2, "large": 1, "very_large": 1}


def test_throughput_is_that_of_all_workers() -> None:
    throughput = Throughput()
    throughput.update("1.0", 2, Counts(40, 40, 20.0))
    assert throughput.requests_per_second is None, "of what went before nothing is known"
    throughput.update("1.0", 2, Counts(44, 44, 22.0))
    assert throughput.requests_per_second is None, "too few to judge by"
    throughput.update("1.0", 2, Counts(50, 50, 25.0))
    assert throughput.requests_per_second == 4.0
    throughput.update("1.0", 2, Counts(60, 60, 27.5))
    assert throughput.requests_per_second == 6.0, "the mean of 4 and 8"


def test_throughput_survives_a_deploy_and_a_restart() -> None:
    throughput = Throughput()
    throughput.update("1.0", 1, Counts(0, 0, 0.0))
    throughput.update("1.0", 1, Counts(10, 10, 5.0))
    throughput.update("2.0", 1, Counts(100, 100, 1.0))
    assert throughput.requests_per_second == 2.0
    throughput.update("2.0", 1, Counts(110, 110, 6.0))
    throughput.update("2.0", 1, Counts(3, 3, 1.0))  # a server that was started again
    throughput.update("2.0", 1, Counts(13, 13, 6.0))
    assert throughput.requests_per_second == 2.0
