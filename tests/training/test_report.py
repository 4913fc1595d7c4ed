"""Pages: complete, self-contained, and right about the run."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from falconet.training import data, recipes, report
from falconet.training.explore import explore
from falconet.training.page import Section, write
from falconet.training.prepared import prepare
from falconet.training.recipe import Recipe
from falconet.training.run import Run


def check(page: Path, files: set[str]) -> str:
    """The page holds the images that lie beside it, and refers to nothing outside."""
    text = page.read_text()
    assert {path.stem for path in page.parent.glob("*.png")} == files
    embedded = {base64.b64decode(code) for code in re.findall(r'base64,([^"]+)"', text)}
    assert embedded == {path.read_bytes() for path in page.parent.glob("*.png")}
    assert not re.search(r'(src|href)="(?!data:)', text)
    for path in page.parent.glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 100
    return text


def test_a_report_of_a_run(finished: Path, colors: Path, recipe: Recipe) -> None:
    page = report.report(Run(finished), recipe, colors)
    mistakes = {"mistakes"} if "Worst mistakes" in page.read_text() else set()
    text = check(page, {"curves", "confusion", "first"} | mistakes)
    accuracy = re.search(r"([\d.]+)% of 60 test images right", text)
    assert accuracy is not None
    assert float(accuracy[1]) > 90
    for heading in ("Learning curves", "By class", "Confusion matrix", "Most confused pairs"):
        assert f"<h2>{heading}</h2>" in text
    assert "<h2>16 images of the test set</h2>" in text


def test_a_report_needs_a_finished_run(tmp_path: Path, colors: Path, recipe: Recipe) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights\.pt yet; finish the run"):
        report.report(Run(tmp_path), recipe, colors)


def test_the_classification_report_counts() -> None:
    matrix = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    rows = report.classification(matrix, ("cat", "dog", "owl"))
    assert rows[1] == ["cat", "0.889", "0.800", "0.842", "10"]
    assert rows[2] == ["dog", "0.818", "0.900", "0.857", "10"]
    assert rows[3] == ["owl", "0.000", "0.000", "0.000", "0"]
    assert rows[4][-1] == "20"


def test_confused_pairs_count_both_ways() -> None:
    matrix = np.array([[8, 2, 1], [5, 9, 0], [0, 0, 3]])
    assert report.confused(matrix, ("cat", "dog", "owl"))[1:] == [
        ["cat and dog", "7", "5", "2"],
        ["cat and owl", "1", "0", "1"],
    ]


def test_a_page_about_data(colors: Path, tmp_path: Path) -> None:
    files = {"samples", "classes", "counts", "means", "augmented", "cutmix"}
    text = check(explore(colors, recipes.load("champion"), tmp_path / "page"), files)
    assert "240 training images in 3 classes, 24x20, 24x21, 24x22, 24x23, 24x24 pixels" in text
    dataset = data.load(colors, "train")
    spec = recipes.load("champion").spec(dataset.classes)
    mean, _ = data.statistics(prepare(dataset, np.arange(240), spec).images, "channels")
    assert f"<td>{mean[0]:.4f}</td>" in text


def test_names_of_classes_cannot_break_a_page(tmp_path: Path) -> None:
    rows = [["class"], ["<script>alert(1)</script>"]]
    page = write(tmp_path, "a & b", "", [Section("By class", rows=rows)])
    assert "<script>" not in page.read_text()
    assert "a &amp; b" in page.read_text()
