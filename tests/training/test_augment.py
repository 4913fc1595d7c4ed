import pytest
import torch
from torch import Generator

from falconet.training import augment


@pytest.fixture
def random() -> Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def pictures(random: Generator) -> torch.Tensor:
    return torch.rand(200, 3, 12, 10, generator=random) + 1


def test_flip_mirrors_the_chosen_ones(pictures: torch.Tensor) -> None:
    mirrored = torch.arange(len(pictures)) % 3 == 0
    flipped = augment.flip(pictures, mirrored)
    torch.testing.assert_close(flipped[mirrored], pictures[mirrored].flip(3), rtol=0, atol=0)
    torch.testing.assert_close(flipped[~mirrored], pictures[~mirrored], rtol=0, atol=0)


def test_translate_shifts_each_picture_by_itself(random: Generator) -> None:
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(10.0), indexing="ij")
    pictures = torch.stack([rows, columns, rows + columns]).repeat(400, 1, 1, 1)
    shifted = augment.translate(pictures, 2, random)
    middle = shifted[:, :, 6, 5] - pictures[:, :, 6, 5]
    torch.testing.assert_close(middle[:, 2], middle[:, 0] + middle[:, 1])
    # All 25 shifts occur, each about as often as the others.
    pairs, counts = torch.unique(middle[:, :2], dim=0, return_counts=True)
    assert sorted(pairs.tolist()) == [
        [float(y), float(x)] for y in range(-2, 3) for x in range(-2, 3)
    ]
    assert counts.min() >= 4
    # What comes in at the edge is the picture's mirror image.
    for picture, (dy, dx) in zip(shifted, middle[:, :2].tolist(), strict=True):
        assert picture[0, 0, 0] == abs(dy)
        assert picture[1, 0, 0] == abs(dx)


def test_cutout_blanks_one_square(pictures: torch.Tensor, random: Generator) -> None:
    cut = augment.cutout(pictures, 4, random)
    blank = cut == 0
    assert (blank.sum((1, 2, 3)) == 3 * 16).all()
    assert (blank[:, 0].any(2).sum(1) == 4).all()
    assert (blank[:, 0].any(1).sum(1) == 4).all()
    torch.testing.assert_close(cut[~blank], pictures[~blank], rtol=0, atol=0)
    positions = {tuple(p[0].nonzero()[0].tolist()) for p in blank}
    assert len(positions) > 30  # of 9 x 7


def test_nothing_asked_is_nothing_done(pictures: torch.Tensor, random: Generator) -> None:
    assert augment.translate(pictures, 0, random) is pictures
    assert augment.cutout(pictures, 0, random) is pictures


def test_the_same_seed_gives_the_same_batch(pictures: torch.Tensor) -> None:
    def once() -> torch.Tensor:
        random = torch.Generator().manual_seed(5)
        return augment.cutout(augment.translate(pictures, 3, random), 4, random)

    torch.testing.assert_close(once(), once(), rtol=0, atol=0)
