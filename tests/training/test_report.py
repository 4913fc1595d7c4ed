"""Pages: complete, self-contained, and right about the run."""

import base64
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from falconet.model.weights import Weights
from falconet.training import data, recipes, report
from falconet.training.comparison import compare
from falconet.training.evaluate import answers, score_of
from falconet.training.explore import explore
from falconet.training.page import Section, write
from falconet.training.prepared import prepare
from falconet.training.recipe import Recipe
from falconet.training.reliability import Reliability
from falconet.training.run import Run
from falconet.training.temperature import fit, held_out, store
from falconet.training.train import train


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
    text = check(page, {"curves", "confusion", "first", "reliability"} | mistakes)
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


def cells(text: str, heading: str) -> list[list[str]]:
    """The table below a heading, by rows."""
    table = text.partition(f"<h2>{heading}</h2>")[2].partition("</table>")[0]
    return [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>.*</tr>", table)]


def test_a_report_shows_calibration_and_thresholds(
    unsure: Path, unsure_run: Path, recipe: Recipe, tmp_path: Path
) -> None:
    run = Run(unsure_run)
    page = report.report(run, recipe, unsure, tmp_path / "page", least_precision=0.8)
    text = check(page, {"curves", "confusion", "first", "mistakes", "reliability"})
    weights = Weights.load(run.weights)
    dataset = data.load_test(unsure, weights.spec.classes)
    _, logits = answers(weights, dataset)
    labels = torch.from_numpy(dataset.labels)
    held = held_out(run, recipe, unsure)
    held_logits = answers(weights, held)[1]
    temperature = fit(held_logits, torch.from_numpy(held.labels))
    _, before, after = cells(text, "Calibration")
    for row, each in ((before, 1.0), (after, temperature)):
        assert row[1] == f"{each:g}"
        assert row[2] == f"{Reliability.of((logits / each).softmax(1), labels).error:.2%}"
        assert row[3] == f"{score_of(logits / each, labels).loss:.4f}"
    assert before[0] == "without scaling, as served"

    heading, *rows = cells(text, "Thresholds by class")
    assert heading[:4] == ["class", "threshold", "precision, held out", "recall, held out"]
    assert [row[0] for row in rows] == list(weights.spec.classes)
    found = {row[0]: row for row in rows if row[1] != "none"}
    assert found
    for name, row in found.items():
        number = weights.spec.classes.index(name)
        likely = held_logits.softmax(1)[:, number].double().numpy().round(6)
        chosen = held.labels[likely >= float(row[1])] == number
        assert row[2] == f"{chosen.mean():.1%}"
        assert chosen.mean() >= 0.8
        assert row[3] == f"{chosen.sum() / (held.labels == number).sum():.1%}"
        assert row[4] == f"{len(chosen)} of 60"


def test_thresholds_are_those_of_the_temperature_that_is_served(
    unsure: Path, unsure_run: Path, recipe: Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(unsure_run, folder)
    store(Run(folder), recipe, unsure)
    temperature = Weights.load(folder / "weights.pt").spec.temperature
    first, second = (
        report.report(Run(each), recipe, unsure, tmp_path / f"page-{i}", 0.8).read_text()
        for i, each in enumerate((unsure_run, folder))
    )
    assert [row[1:] for row in cells(first, "Calibration")] == [
        row[1:] for row in cells(second, "Calibration")
    ]
    assert cells(second, "Calibration")[2][0].endswith("held out, as served")
    assert f"as served with the temperature {temperature:g}" in second
    assert cells(first, "By class") == cells(second, "By class")
    one, other = (cells(text, "Thresholds by class")[1:] for text in (first, second))
    assert one != other


def test_a_run_that_held_nothing_out_has_no_thresholds(
    colors: Path, finished: Path, recipe: Recipe, tmp_path: Path
) -> None:
    nothing = replace(recipe, validation=0)
    text = report.report(Run(finished), nothing, colors, tmp_path).read_text()
    assert text.count("No temperature can be fitted: ") == 2
    assert [row[0] for row in cells(text, "Calibration")[1:]] == ["without scaling, as served"]
    after = text.partition("<h2>Thresholds by class</h2>")[2].partition("<h2>")[0]
    assert "no training images were held out" in after
    assert "<table>" not in after


def test_a_report_needs_no_training_set(
    colors: Path, finished: Path, recipe: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(colors / "test", tmp_path / "test")
    text = report.report(Run(finished), recipe, tmp_path, tmp_path / "page").read_text()
    assert text.count("No temperature can be fitted: ") == 2
    assert f"{tmp_path / 'train'}: expected a folder" in text


def test_runs_are_compared(unsure: Path, unsure_run: Path, recipe: Recipe, tmp_path: Path) -> None:
    shorter = tmp_path / "b" / "unsure"  # the same name as the other
    fields = {"epochs": 2, "validation": 0, "ema_decay": 0.0}
    train(replace(recipe, **fields), unsure, shorter)
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("recipe.json", "environment.json"):
        shutil.copy(shorter / name, begun)
    runs = [Run(unsure_run), Run(shorter), Run(begun)]
    text = check(compare(runs, unsure, tmp_path / "page"), {"curves"})
    heading, *rows = cells(text, "Recipe fields that differ")
    assert len(heading) == 4
    assert heading[2] != heading[1]
    assert [row[0] for row in rows] == ["validation", "epochs", "ema_decay"]
    assert rows[1] == ["epochs", "4", "2", "2"]
    results = {row[0]: row[1:] for row in cells(text, "Results")[1:]}
    for column, run in enumerate(runs[:2]):
        weights = Weights.load(run.weights)
        dataset = data.load_test(unsure, weights.spec.classes)
        logits, labels = answers(weights, dataset)[1], torch.from_numpy(dataset.labels)
        assert results["accuracy"][column] == f"{score_of(logits, labels).accuracy:.2%}"
        error = Reliability.of(logits.softmax(1), labels).error
        assert results["expected calibration error"][column] == f"{error:.2%}"
    assert results["accuracy"][2] == "not finished"
    assert results["epochs"] == ["4", "2", "0"]
    same = compare([runs[0], runs[0]], unsure, tmp_path / "same").read_text()
    assert "All fields of the recipes are the same." in same
