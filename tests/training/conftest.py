"""A small made data set that a small network can learn."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from falconet.training import recipes
from falconet.training.recipe import Recipe
from falconet.training.train import train


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks are no faster in several, which wait for each other where tests share cores.

    In the processes that are started as well: another number of them gives other roundings.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


COLORS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


def make(folder: Path, split: str, count: int, seed: int, wrong: int = 0) -> None:
    """Noisy images of one color each, of several sizes; one of so many has a wrong label."""
    random = np.random.default_rng(seed)
    for name, color in COLORS.items():
        (folder / split / name).mkdir(parents=True)
        for i in range(count):
            noise = random.normal(0, 60, (20 + i % 5, 24, 3))
            seen = COLORS["green"] if wrong and i % wrong == 0 else color
            pixels = np.clip(np.array(seen) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / split / name / f"{i}.png")


@pytest.fixture(scope="session")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colors")
    make(folder, "train", 80, seed=0)
    make(folder, "test", 20, seed=1)
    return folder


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """A network so small that a run of it takes no time."""
    small = ["widths=16,16,16", "size=20,24", "translate=2", "cutout=4", "batch_size=30"]
    short = ["validation=60", "epochs=4", "ema_decay=0.8", "precision=float32"]
    return recipes.load("champion").override([*small, *short])


@pytest.fixture(scope="session")
def finished(colors: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of it."""
    output = tmp_path_factory.mktemp("run") / "colors"
    train(recipe, colors, output)
    return output


@pytest.fixture(scope="session")
def unsure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose labels no network can know, so that some of its answers are wrong."""
    folder = tmp_path_factory.mktemp("unsure")
    make(folder, "train", 80, seed=0, wrong=5)
    make(folder, "test", 20, seed=1, wrong=5)
    return folder


@pytest.fixture(scope="session")
def unsure_run(unsure: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on them."""
    output = tmp_path_factory.mktemp("run") / "unsure"
    train(recipe, unsure, output)
    return output
