from dataclasses import replace
from pathlib import Path

import pytest
import torch

from falconet.model.export import MAX_DIFFERENCE, ExportError, export
from falconet.model.network import ConvNet
from falconet.model.spec import Spec
from falconet.model.weights import PRETRAINED, Weights


def test_the_shipped_weights_export_to_the_same_answers(tmp_path: Path) -> None:
    weights = Weights.load()
    parity = export(weights, tmp_path)
    assert parity.images == len(weights.samples) >= 32
    assert parity.same_top1 == parity.images
    assert 0 <= parity.max_difference <= MAX_DIFFERENCE
    assert Spec.load(tmp_path) == weights.spec
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "spec.json"]


def test_the_file_takes_batches_of_any_size(small_weights: Weights, tmp_path: Path) -> None:
    export(small_weights, tmp_path)
    model = torch.jit.load(tmp_path / "model.pt")
    for size in (1, 2, 5):
        images = torch.randn(size, 3, 32, 32)
        with torch.inference_mode():
            expected = small_weights.network(images)
            torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)


class WronglyFolded(ConvNet):
    def folded(self) -> ConvNet:
        folded = super().folded()
        with torch.no_grad():
            folded.head.weight[0] += 0.5
        return folded


def test_an_export_that_differs_is_not_written(small_weights: Weights, tmp_path: Path) -> None:
    wrong = WronglyFolded((8, 8, 8), classes=3)
    wrong.load_state_dict(small_weights.network.state_dict())
    with pytest.raises(ExportError, match=r"differs from the network: on 4 .* Nothing was written"):
        export(replace(small_weights, network=wrong.eval()), tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_survive_a_file(small_weights: Weights, tmp_path: Path) -> None:
    small_weights.save(tmp_path / "weights.pt")
    loaded = Weights.load(tmp_path / "weights.pt")
    assert loaded.spec == small_weights.spec
    assert loaded.card == small_weights.card
    assert all((a == b).all() for a, b in zip(loaded.samples, small_weights.samples, strict=True))
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        # Stored in half precision.
        expected = small_weights.network(images)
        torch.testing.assert_close(loaded.network(images), expected, rtol=0.02, atol=0.02)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    torch.save({"some": "thing"}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="expected a weights file of format 1"):
        Weights.load(tmp_path / "other.pt")


def test_the_shipped_weights_are_small() -> None:
    assert PRETRAINED.stat().st_size < 10e6
