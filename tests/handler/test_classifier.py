import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from falconet.handler.classifier import Classifier
from falconet.native.decode import decode


@pytest.fixture(scope="module")
def classifier(exported: Path) -> Classifier:
    return Classifier(exported)


def test_the_first_16_test_images(classifier: Classifier, samples: list[Path]) -> None:
    """The demonstration of the third seed: at least 15 of 16."""
    decoded = [decode(path.read_bytes(), 10**6) for path in samples]
    labels = [best[0].label for best in classifier.classify(decoded)]
    right = [label == path.stem.split("-")[1] for label, path in zip(labels, samples, strict=True)]
    assert sum(right) >= 15


def test_answers_are_sorted_probabilities(classifier: Classifier) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 50, 3), np.uint8)
    (predictions,) = classifier.classify([noise])
    assert len(predictions) == 10
    probabilities = [prediction.probability for prediction in predictions]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert {prediction.label for prediction in predictions} == set(classifier.classes)


def test_a_batch_is_its_images_one_by_one(classifier: Classifier, samples: list[Path]) -> None:
    decoded = [decode(path.read_bytes(), 10**6) for path in samples]
    batch = classifier.batch(len(decoded))
    classifier.prepare(decoded, batch)
    together = classifier.logits(batch)
    alone = torch.cat([classifier.logits(row[None]) for row in batch])
    # oneDNN may sum a batch in another order, which bfloat16 shows.
    torch.testing.assert_close(together, alone, rtol=1e-2, atol=1e-2)


def test_bfloat16_gives_the_same_classes(exported: Path, samples: list[Path]) -> None:
    decoded = [decode(path.read_bytes(), 10**6) for path in samples]
    exact = Classifier(exported, precision="float32").classify(decoded)
    rounded = Classifier(exported, precision="bfloat16").classify(decoded)
    for a, b in zip(exact, rounded, strict=True):
        assert a[0].label == b[0].label
        assert a[0].probability == pytest.approx(b[0].probability, abs=0.05)
    assert exact != rounded


class Stubborn(nn.Module):
    """Computes in float32, whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.float().mean((2, 3)))


def test_a_model_that_insists_on_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("falconet.handler.network.fast_bfloat16", lambda: True)
    classifier = Classifier(folder_with(tmp_path, Stubborn()))
    assert classifier.network.dtype == torch.float32
    assert classifier.preprocess.dtype == "float32"
    assert "cannot be computed in bfloat16" in caplog.text
    assert len(classifier.classify([np.zeros((5, 5, 3), np.uint8)])) == 1
    with pytest.raises(RuntimeError):
        Classifier(tmp_path, precision="bfloat16").warm_up(1)


def test_no_images_no_predictions(classifier: Classifier) -> None:
    assert classifier.classify([]) == []


class Mean(nn.Module):
    """A classifier of two classes: dark and bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.mean((1, 2, 3))
        return torch.stack([-bright, bright], 1)


def folder_with(tmp_path: Path, model: nn.Module, **spec: object) -> Path:
    torch.jit.script(model).save(tmp_path / "model.pt")
    full = {
        "format": 1,
        "size": [4, 4],
        "classes": ["dark", "bright"],
        "resize": 6,
        "crop": "center",
        "filter": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.1, 0.1, 0.1],
        "top_k": 5,
    }
    (tmp_path / "spec.json").write_text(json.dumps({**full, **spec}))
    return tmp_path


def test_any_torchscript_classifier(tmp_path: Path) -> None:
    classifier = Classifier(folder_with(tmp_path, Mean()))
    classifier.warm_up(3)
    dark, bright = np.full((9, 12, 3), 20, np.uint8), np.full((20, 7, 3), 230, np.uint8)
    answers = classifier.classify([dark, bright])
    assert [[prediction.label for prediction in best] for best in answers] == [
        ["dark", "bright"],  # top_k is more than there are
        ["bright", "dark"],
    ]


class Same(nn.Module):
    """Says the same of every image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tensor([0.5, 0.25]).expand(x.shape[0], 2)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("logits", [1 / (1 + math.exp(-0.25)), 1 / (1 + math.exp(0.25))]),
        ("sigmoid", [1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(-0.25))]),
        ("probabilities", [0.5, 0.25]),
    ],
)
def test_the_output_is_read_as_the_spec_says(
    tmp_path: Path, output: str, expected: list[float]
) -> None:
    classifier = Classifier(folder_with(tmp_path, Same(), format=2, output=output))
    (found,) = classifier.classify([np.zeros((5, 5, 3), np.uint8)])
    assert [(each.label, each.number) for each in found] == [("dark", 0), ("bright", 1)]
    assert [each.probability for each in found] == pytest.approx(expected, rel=1e-6)


def test_a_model_of_gray_images_sees_gray(tmp_path: Path) -> None:
    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :2]

    folder = folder_with(tmp_path, Spy(), size=[2, 1], resize=None, mean=[0.0], std=[1.0])
    classifier = Classifier(folder, precision="float32")
    color = np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8)
    batch = classifier.batch(1)
    classifier.prepare([color], batch)
    seen = classifier.logits(batch)
    expected = np.asarray(Image.fromarray(color).convert("L")).ravel() / 255
    torch.testing.assert_close(seen[0].numpy(), expected.astype(np.float32), rtol=0, atol=1e-6)


def test_what_does_not_fit_is_said_before_serving(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"expected a format of \(1, 2, 3, 4\), got 5; the archive was made by"
    ):
        Classifier(folder_with(tmp_path, Mean(), format=5))
    with pytest.raises(ValueError, match=r"expected output to be one of logits, .*got 'scores'"):
        Classifier(folder_with(tmp_path, Mean(), output="scores"))
    with pytest.raises(ValueError, match=r"a temperature only with output 'logits', .*'sigmoid'"):
        Classifier(folder_with(tmp_path, Mean(), format=4, output="sigmoid", temperature=2))
    with pytest.raises(ValueError, match="expected answer to be one of falconet, torchserve, "):
        Classifier(folder_with(tmp_path, Mean(), answer="xml"))
    with pytest.raises(ValueError, match=r"gray or RGB images, .*, got 4"):
        Classifier(folder_with(tmp_path, Mean(), mean=[0.0] * 4, std=[1.0] * 4))
    wrong = Classifier(folder_with(tmp_path, Mean(), classes=["a", "b", "c"]))
    with pytest.raises(ValueError, match=r"returned \(1, 2\) for a batch of 1; .* 3 classes"):
        wrong.warm_up(1)


def test_a_model_that_returns_no_logits_is_refused(tmp_path: Path) -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.mean((2, 3))[:, :2], x

    class Endless(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))[:, :2] / 0

    with pytest.raises(TypeError, match="returned a tuple; expected one tensor of logits"):
        Classifier(folder_with(tmp_path, Pair()))
    with pytest.raises(ValueError, match="logits that are not finite"):
        Classifier(folder_with(tmp_path, Endless())).warm_up(1)


def test_a_model_may_divide_by_a_image_s_contrast(tmp_path: Path) -> None:
    """That of one color has none, and fails alone."""

    class Contrast(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return ((x - x.mean()) / x.std()).mean((2, 3))[:, :2]

    classifier = Classifier(folder_with(tmp_path, Contrast()))
    classifier.warm_up(1)
    with pytest.raises(ValueError, match="numbers that are not finite"):
        classifier.classify([np.full((9, 12, 3), 20, np.uint8)])


def test_fast_decoding_shrinks_large_jpegs_only(tmp_path: Path) -> None:
    """By 2, 4 or 8, and never below twice what the image is resized to."""
    exact = Classifier(folder_with(tmp_path, Mean(), size=[8, 8], resize=10))
    fast = Classifier(folder_with(tmp_path, Mean(), size=[8, 8], resize=10, decode="fast"))
    for height, width, factor in [
        (38, 60, 1),
        (40, 60, 2),
        (77, 500, 2),
        (300, 80, 4),
        (152, 170, 4),
        (160, 171, 8),
        (2000, 2000, 8),
    ]:
        for format in ("JPEG", "PNG"):
            file = io.BytesIO()
            Image.new("RGB", (width, height), (200, 100, 50)).save(file, format)
            encoded = fast.open(file.getvalue(), 10**7)
            assert (encoded.height, encoded.width) == (height, width)
            assert exact.decode(encoded).shape == (height, width, 3)
            divisor = factor if format == "JPEG" else 1
            # The decoder rounds up.
            assert fast.decode(encoded).shape == (-(-height // divisor), -(-width // divisor), 3)


def test_fast_decoding_is_reproducible_and_close(tmp_path: Path, images: Path) -> None:
    data = (images / "ship.jpg").read_bytes()  # 640 x 480
    folder = folder_with(tmp_path, Mean(), size=[96, 96], resize=100)
    exact = Classifier(folder, precision="float32")
    folder_with(tmp_path, Mean(), size=[96, 96], resize=100, decode="fast")
    fast = Classifier(folder, precision="float32")
    batches = [exact.batch(1), fast.batch(1), fast.batch(1)]
    for classifier, batch in zip([exact, fast, fast], batches, strict=True):
        classifier.prepare([classifier.decode(classifier.open(data, 10**7))], batch)
    exactly, once, again = (batch * 0.1 * 255 for batch in batches)  # in steps of a byte
    np.testing.assert_array_equal(once, again)
    assert 0 < np.abs(once - exactly).mean() < 2
