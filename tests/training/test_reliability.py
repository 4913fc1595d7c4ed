"""Calibration errors and thresholds, counted by hand and by brute force."""

import numpy as np
import pytest
import torch

from falconet.training.reliability import BINS, Bin, Reliability
from falconet.training.thresholds import Reached, threshold


def test_the_calibration_error_is_counted_by_bins() -> None:
    best = torch.tensor([0.5, 0.52, 0.9, 0.92, 0.92, 1.0])
    labels = torch.tensor([0, 1, 0, 0, 1, 0])
    found = Reliability.of(torch.stack([best, 1 - best], 1), labels)
    assert len(found.bins) == BINS == 15
    # 0.5 and 0.52 lie between 7/15 and 8/15; 0.9 and 0.92 between 13/15 and 14/15.
    assert found.bins[7] == pytest.approx(Bin(2, 0.51, 0.5))
    assert found.bins[13] == pytest.approx(Bin(3, 2.74 / 3, 2 / 3))
    assert found.bins[14] == pytest.approx(Bin(1, 1.0, 1.0))
    assert sum(each.images for each in found.bins) == found.images == 6
    assert found.error == pytest.approx((2 * 0.01 + abs(2.74 - 2)) / 6)
    assert found.confidence == pytest.approx((1.02 + 2.74 + 1) / 6)


def test_an_edge_belongs_to_the_bin_below_it() -> None:
    likely = torch.tensor([[0.6, 0.4], [0.6001, 0.3999]], dtype=torch.float64)
    found = Reliability.of(likely, torch.zeros(2))
    assert [i for i, each in enumerate(found.bins) if each.images] == [8, 9]


def test_probabilities_that_come_true_have_no_error() -> None:
    likely = torch.tensor([[0.75, 0.25]]).repeat(400, 1)
    labels = (torch.arange(400) % 4 == 0).long()
    assert Reliability.of(likely, labels).error == pytest.approx(0)
    assert Reliability.of(likely, 1 - labels).error == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("least", [0.5, 0.8, 0.95, 1.0])
def test_a_threshold_has_the_largest_recall_that_is_precise(seed: int, least: float) -> None:
    random = np.random.default_rng(seed)
    likely = random.integers(0, 12, 40) / 12  # many are the same
    is_class = random.random(40) < likely
    all_of_them = {float(each): Reached.by(each, likely, is_class) for each in np.unique(likely)}
    enough = {each: got for each, got in all_of_them.items() if got.precision >= least}
    found = threshold(likely, is_class, least)
    if not enough:
        assert found is None
    else:
        assert found == min(enough)
        assert enough[found].recall == max(got.recall for got in enough.values())


def test_what_a_threshold_reaches() -> None:
    likely = np.array([0.9, 0.8, 0.8, 0.3])
    is_class = np.array([True, True, False, True])
    assert Reached.by(0.8, likely, is_class) == (3, 2 / 3, 2 / 3)
    assert Reached.by(0.95, likely, is_class) == (0, 0.0, 0.0)
    assert threshold(likely, is_class, 2 / 3) == 0.3
    assert threshold(likely, is_class, 0.95) == 0.9
    assert threshold(likely, ~is_class, 0.95) is None
