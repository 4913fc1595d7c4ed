"""The commands around training, on a data set of one's own: other sizes, other classes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from falconet.cli.main import main
from falconet.serving.configuration import Configuration
from falconet.serving.server import Server
from falconet.training import recipes

CLASSES = ("bar", "blob", "checks", "ring", "stripes")
HEIGHT, WIDTH = 48, 64
MARKERS = "<!-- reproduce start: written by falconet reproduce -->\n<!-- reproduce end -->\n"


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def draw(name: str, random: np.random.Generator) -> Image.Image:
    """A pattern of this class, at a place and in a color of its own."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    distance = np.hypot(y - random.uniform(16, 32), x - random.uniform(20, 44))
    shape = {
        "bar": np.abs(y - random.uniform(14, 34)) < 5,
        "blob": distance < 13,
        "checks": (y // 8 + x // 8) % 2 < 1,
        "ring": np.abs(distance - 13) < 3,
        "stripes": (x + random.uniform(0, 12)) % 12 < 6,
    }[name]
    colors = random.uniform(0, 255, (2, 3))
    colors[1] = (colors[0] + 128) % 256
    pixels = np.where(shape[..., None], colors[0], colors[1])
    pixels += random.normal(0, 15, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks are no faster in several, which wait where tests share cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 64x48 in five classes."""
    folder = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 12)):
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                draw(name, random).save(folder / split / name / f"{i}.png")
    return folder


PRECISION = "precision=float32"  # many CPUs take long for bfloat16
SIZE = f"size={HEIGHT // 2},{WIDTH // 2}"
FIELDS = [PRECISION, SIZE, "widths=16,24,32", "batch_size=30", "validation=50"]
SHORT = ["epochs=12", "ema_decay=0.8", "translate=2", "cutout=0"]


@pytest.fixture(scope="module")
def trained(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "own"
    made = run("train", "fast94", *FIELDS, *SHORT, "--data", own, "--output", folder, "--json")
    assert json.loads(made.stdout)["validation_accuracy"] > 0.9
    return folder


@pytest.mark.server
def test_own_data_is_trained_exported_and_served(own: Path, trained: Path, tmp_path: Path) -> None:
    archive = tmp_path / "store" / "own.mar"
    run("archive", trained / "weights.pt", "--output", archive, "--workers", 1)
    configuration = Configuration.load(inference=0, management=0, metrics=0)
    server = Server.start([archive], tmp_path / "state", configuration)
    try:
        server.wait_ready((own / "test" / "ring" / "0.png").read_bytes())
        right = 0
        for name in CLASSES:
            for path in sorted((own / "test" / name).iterdir()):
                result = server.client.predict("own", path.read_bytes())
                assert {each.label for each in result.predictions} == set(CLASSES)
                right += result.label == name
    finally:
        server.stop()
    found = json.loads(run("evaluate", trained / "weights.pt", "--data", own, "--json").stdout)
    assert right == found["right"]
    assert found["accuracy"] > 0.9


def test_a_network_of_a_recipe_of_its_own_is_exported(own: Path, tmp_path: Path) -> None:
    """One whose class is not in falconet.model, whose layers depend on the size of images."""
    fields = ["epochs=1", SIZE, "batch_size=30", "hold_out=stratified", PRECISION]
    run("train", "vgg1", *fields, "--data", own, "--output", tmp_path / "run")
    found = run("evaluate", tmp_path / "run" / "weights.pt", "--data", own, "--json")
    assert json.loads(found.stdout)["images"] == 60


def test_a_run_is_resumed_by_its_folder_alone(own: Path, trained: Path) -> None:
    before = (trained / "recipe.json").read_text()
    result = run("train", "--resume", trained, "--data", own, "--json")
    assert json.loads(result.stdout)["folder"] == str(trained)
    assert (trained / "recipe.json").read_text() == before


def test_several_seeds_have_a_mean(own: Path, tmp_path: Path) -> None:
    words = [*FIELDS, *SHORT, "epochs=2", "--seeds", 2, "--data", own, "--output", tmp_path]
    result = run("train", "fast94", *words)
    last = result.stdout.splitlines()[-1]
    assert re.fullmatch(r"[\d.]+%, standard deviation [\d.]+%, n = 2", last)
    assert (tmp_path / "seed-0" / "weights.pt").exists()
    assert (tmp_path / "seed-1" / "weights.pt").exists()


def test_pages_are_made(own: Path, trained: Path, tmp_path: Path) -> None:
    page = json.loads(run("report", trained, "--data", own, "--json").stdout)["page"]
    assert "60 test images right" in Path(page).read_text()
    both = ["report", trained, trained, "--data", own, "--output", tmp_path / "both"]
    assert "All fields of the recipes are the same" in Path(run(*both).stdout.strip()).read_text()
    page = run("explore", "--data", own, "--output", tmp_path / "page").stdout.strip()
    assert "64x48 pixels" in Path(page).read_text()


def test_recipes_are_listed_with_all_that_is_known() -> None:
    rows = json.loads(run("recipes", "--json").stdout)
    assert [row["name"] for row in rows] == recipes.names()
    wanted = {"source", "parameters", "multiply_adds", "epochs", "reference_accuracy", "protocol"}
    for row in rows:
        assert wanted | {"accuracy"} <= row.keys()
        assert row["parameters"] > 0
        assert row["multiply_adds"] > 0
    lines = run("recipes").stdout
    for name in ("champion", "lenet", "wrn_se"):
        assert name in lines


def test_show_tells_fields_and_assumptions() -> None:
    text = run("show", "wrn_se").stdout
    assert "published: 94.60%" in text
    assert "assumed: 16 layers, width 8, dropout of 0.3" in text
    assert re.search(r"^squeeze_excite +True", text, re.MULTILINE)
    fields = json.loads(run("show", "wrn_se", "--json").stdout)["fields"]
    assert fields["cutmix"] == 0.25


def test_a_search_says_how_to_train(own: Path, tmp_path: Path) -> None:
    words = [*FIELDS, *SHORT, "epochs=2", "learning_rate=0.1..1", "--trials", 2]
    result = run("tune", "fast94", *words, "--data", own, "--output", tmp_path / "search")
    last = result.stdout.splitlines()[-1]
    assert re.match(r"falconet train fast94 .*epochs=2 learning_rate=0\.\d+", last)
    assert (tmp_path / "search" / "trials.csv").exists()


@pytest.fixture
def two_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a page that is made in no time; the page of all is tests/training/test_reproduce.py's."""
    two = [recipes.load("lenet"), recipes.load("shallow")]
    monkeypatch.setattr(recipes, "load_all", lambda: two)


@pytest.mark.usefixtures("two_recipes")
def test_reproducing_rewrites_the_page(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falconet.training.results.FOLDER", tmp_path / "measured")
    monkeypatch.setattr("falconet.training.data.is_cifar10", lambda _: True)
    page = tmp_path / "page.md"
    page.write_text(MARKERS)
    words = ["epochs=1", "hold_out=stratified", "validation=50", "size=32,32", "batch_size=30"]
    runs = ["--runs", tmp_path / "runs", "--page", page, "--data", own]
    result = run("reproduce", "lenet", *words, *runs)
    assert re.search(r"^lenet: [\d.]+ %$", result.stdout, re.MULTILINE)
    assert (tmp_path / "measured" / "lenet.json").exists()
    rows = [line for line in page.read_text().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == ["lenet", "shallow"]
    assert "lenet" in page.with_suffix(".svg").read_text()

    kept = page.read_text()
    page.write_text(MARKERS)
    run("reproduce", "--only-page", "--page", page)
    assert page.read_text() == kept


def test_nothing_is_run_before_all_is_checked(tmp_path: Path) -> None:
    """Snapshots need whole cycles: that is found before the recipes that come first are run."""
    page = tmp_path / "page.md"
    page.write_text("")
    result = CliRunner().invoke(main, ["reproduce", "epochs=10", "--page", str(page)])
    assert result.exit_code == 2
    assert "snapshots: recipe: expected a schedule with 3 cycles" in result.output


@pytest.mark.usefixtures("two_recipes")
def test_other_data_is_not_passed_off_as_cifar10(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falconet.training.results.FOLDER", tmp_path / "measured")
    page = tmp_path / "page.md"
    page.write_text(MARKERS)
    words = ["epochs=1", "batch_size=30", "--runs", tmp_path / "runs", "--page", page]
    run("reproduce", "lenet", *words, "--data", own)
    assert not (tmp_path / "measured").exists()
    assert "not run in full" in page.read_text()


def test_seeds_go_on_where_they_were(own: Path, tmp_path: Path) -> None:
    words = ["train", "lenet", "batch_size=30", "epochs=1", "--data", own, "--output", tmp_path]
    run(*words, "--seeds", 2)
    result = run(*words, "--seeds", 3)
    assert len([line for line in result.stdout.splitlines() if "weights.pt" in line]) == 3
    assert (tmp_path / "seed-2" / "weights.pt").exists()
