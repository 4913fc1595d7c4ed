import numpy as np
import pytest

from falconet.training.split import HoldOut, hold_out, subset

LABELS = np.repeat(np.arange(10), 500)


def test_every_class_is_held_out_alike() -> None:
    training, validation = hold_out(LABELS, 500, "stratified", seed=0)
    assert len(training) == 4500
    assert set(training).isdisjoint(validation)
    np.testing.assert_array_equal(np.bincount(LABELS[validation]), [50] * 10)
    np.testing.assert_array_equal(hold_out(LABELS, 500, "stratified", seed=0)[1], validation)
    assert (hold_out(LABELS, 500, "stratified", seed=1)[1] != validation).any()


@pytest.mark.parametrize("how", ["stratified", "random"])
def test_nothing_is_lost_or_twice(how: HoldOut) -> None:
    for count in (0, 1, 777, 5000):
        training, validation = hold_out(LABELS, count, how, seed=3)
        np.testing.assert_array_equal(np.sort([*training, *validation]), np.arange(5000))
        assert abs(len(validation) - count) <= 5  # a half for each class


def test_chance_does_not_look_at_classes() -> None:
    _, validation = hold_out(LABELS, 500, "random", seed=0)
    counts = np.bincount(LABELS[validation], minlength=10)
    assert counts.sum() == 500
    assert len(set(counts)) > 3


def test_with_the_test_set_nothing_is_held_out() -> None:
    training, validation = hold_out(LABELS, 500, "test", seed=0)
    assert len(training) == 5000
    assert len(validation) == 0


def test_a_subset_has_as_many_of_each() -> None:
    chosen = subset(LABELS, 40, seed=0)
    np.testing.assert_array_equal(np.bincount(LABELS[chosen]), [40] * 10)
    assert len(set(chosen)) == 400
    with pytest.raises(ValueError, match=r"at least per_class=501 images .* has 500"):
        subset(LABELS, 501, seed=0)
