"""falconet compare"""

import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from falconet.cli.main import main
from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.model.export import export
from falconet.model.weights import Weights
from falconet.scoring.comparison import SHOWN, Comparison
from falconet.scoring.row import Row


def row(key: str, **probabilities: float) -> Row:
    labels = list(probabilities)
    best = probabilities[labels[0]]
    return Row(key, labels[0], best, labels, list(probabilities.values()), None, 200)


def test_changes_are_counted() -> None:
    failed = Row.failed("d/4.png", "no image", 415)
    old = [row("cat/0.png", cat=0.9, dog=0.1), row("x/1.png", cat=0.6, dog=0.4), failed, failed]
    fish = row("d/4.png", cat=0.9, dog=0.1)
    new = [row("cat/0.png", dog=0.7, cat=0.3), row("x/1.png", cat=0.5, dog=0.5), fish, failed]
    found = Comparison({"cat", "dog"})
    found.add(0, old, new)
    assert (found.images, found.predicted, found.same_label) == (4, 2, 1)
    assert (found.only_old, found.only_new) == (0, 1)
    assert found.agreement == pytest.approx(1 / 3)
    assert found.label_changes == Counter({("cat", "dog"): 1})
    assert (found.labeled, found.correct_old, found.correct_new) == (1, 1, 0)
    assert (found.correct_only_old, found.correct_only_new) == (1, 0)
    assert [round(each.size, 6) for each in sorted(found.largest)] == [0.1, 0.6]


def test_the_largest_changes_are_kept() -> None:
    found = Comparison(set())
    count = 3 * SHOWN
    for part in range(count):
        size = (part * 7 % count) / count
        found.add(part, [row("x", a=1.0, b=0.0)], [row("x", a=1 - size, b=size)])
    sizes = sorted(round(each.size * count) for each in found.largest)
    assert sizes == list(range(count - SHOWN, count))


def test_compare_shows_what_changes(
    cifar: Path, small_weights: Weights, samples: list[Path], tmp_path: Path
) -> None:
    """With the included model, and an untrained one of cats, dogs and fish."""
    export(small_weights, tmp_path / "small")
    new = tmp_path / "new.mar"
    archive(tmp_path / "small", new, handler=ENTRY)
    photos = tmp_path / "photos"
    for path in samples:
        folder = photos / path.stem[3:]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / "<b>.png")
    (photos / "cat" / "none.png").write_text("no image")
    with tarfile.open(photos / "more.tar", "w") as tar:
        tar.add(samples[4], "frog/0.png")
    page = tmp_path / "comparison.html"
    command = ["compare", str(cifar), str(new), str(photos), "--output", str(page), "--json"]
    done = CliRunner().invoke(main, [*command, "--min-agreement", "0.99"])
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)
    images = len({path.stem[3:] for path in samples}) + 1
    assert found["images"] == images + 1
    assert found["predicted"] == images
    assert found["labeled"] == found["correct_old"] == 2
    assert sum(each["images"] for each in found["label_changes"]) == images - found["same_label"]
    text = page.read_text()
    assert text.count("<img") == images
    assert "&lt;b&gt;.png" in text
    assert "<b>.png" not in text
    assert "more.tar#frog/0.png" in text
