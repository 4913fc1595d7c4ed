import math

import pytest

from falconet.training.schedule import CosineRestarts, Steps, Triangle


def test_triangle_rises_from_a_fifth_and_falls_to_the_end() -> None:
    triangle = Triangle(warm_up=0.25, final_rate=0.1)
    rates = [triangle.multiple(step, 10, 10) for step in range(100)]
    assert rates[0] == 0.2
    assert rates[25] == 1 == max(rates)
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[-1] == pytest.approx(0.1 + 0.9 / 75)


def test_steps_change_after_so_many_epochs() -> None:
    steps = Steps(drops=(76, 101), multiples=(0.5, 0.3))
    by_epoch = [steps.multiple(epoch * 781, 781, 125) for epoch in range(125)]
    assert by_epoch == [1.0] * 76 + [0.5] * 25 + [0.3] * 24


def test_decay_is_per_step() -> None:
    """As the old Keras optimizers: after 125 epochs of 781 steps at 1e-6, a factor of 0.911."""
    assert Steps(decay=1e-6).multiple(125 * 781, 781, 125) == pytest.approx(0.911, abs=5e-4)
    assert Steps().multiple(10**6, 781, 125) == 1


def test_steps_need_a_multiple_each() -> None:
    with pytest.raises(ValueError, match="a multiple for each, got"):
        Steps(drops=(1, 2), multiples=(0.1,))
    with pytest.raises(ValueError, match="ascending"):
        Steps(drops=(2, 1), multiples=(0.1, 0.2))


def test_cosine_starts_again_and_grows() -> None:
    cosine = CosineRestarts(first_cycle=10, growth=2)
    assert cosine.cycle_ends(150) == [10, 30, 70, 150]
    assert cosine.cycle_ends(149) == [10, 30, 70]
    assert cosine.cycle_ends(9) == []
    for start, length in ((0, 10), (10, 20), (30, 40), (70, 80)):
        assert cosine.multiple(start * 7, 7, 150) == 1
        assert cosine.multiple((start + length // 2) * 7, 7, 150) == pytest.approx(0.5)
        last = cosine.multiple((start + length) * 7 - 1, 7, 150)
        assert last == pytest.approx(0.5 + 0.5 * math.cos(math.pi * (1 - 1 / (7 * length))))
    assert CosineRestarts(5, 1).cycle_ends(20) == [5, 10, 15, 20]
