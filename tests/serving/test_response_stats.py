"""What is known of a version's answers."""

import numpy as np
import pytest

from falconet.serving.response_stats import ResponseStats


def test_percentiles_are_those_of_all_numbers() -> None:
    random = np.random.default_rng(0)
    for seconds in (random.lognormal(-4, 1, 5000), random.uniform(0.001, 0.002, 300)):
        answers = ResponseStats()
        for each in seconds:
            answers.add(200, each)
        for percent in (50, 95, 99):
            exact = np.percentile(seconds, percent)
            assert answers.percentile(percent) == pytest.approx(exact, rel=0.015)
    answers = ResponseStats()
    for i in range(100_000):
        answers.add(200, 0.001 * (1 + i % 60_000))
    assert len(answers.bins) < 1000, "a long trial takes no more memory"


def test_times_of_failures_are_of_no_interest() -> None:
    answers = ResponseStats()
    assert answers.percentile(95) == 0.0
    for _ in range(50):
        answers.add(500, 9.0)
        answers.add(200, 0.010)
    assert (answers.count, answers.failed, answers.failure_rate) == (100, 50, 0.5)
    assert str(answers) == "100 responses, 50 failed, p95 10 ms"


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 1.0])
def test_the_rate_lies_within_its_bounds(rate: float) -> None:
    random = np.random.default_rng(1)
    for count in (20, 200):
        held = 0
        for _ in range(300):
            answers = ResponseStats()
            for failed in random.random(count) < rate:
                answers.add(500 if failed else 200, 0.01)
            low, high = answers.failure_rate_interval()
            held += low <= rate <= high
        assert held >= 0.96 * 300
    assert ResponseStats().failure_rate_interval() == (0.0, 1.0)


def test_few_answers_say_little() -> None:
    one_of_twenty = ResponseStats(count=20, failed=1)
    assert one_of_twenty.failure_rate_interval()[0] < 0.01
    assert ResponseStats(count=20, failed=5).failure_rate_interval()[0] > 0.05
