"""Training for int8 rounds as serving does."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from falconet.handler import quantized_ops
from falconet.handler.quantization import LEVELS, Range
from falconet.handler.quantizing import quantized_weight
from falconet.training import quantized
from falconet.training.quantized import Int8, rounded, rounded_weight
from falconet.training.recipe import Recipe
from falconet.training.train import train


def test_weights_are_rounded_as_they_are_served() -> None:
    torch.manual_seed(0)
    for weight in (torch.randn(8, 3, 3, 3), torch.randn(10, 16), torch.zeros(2, 4)):
        scales, units = quantized_weight(weight)
        served = units.float() * scales.view(-1, *[1] * (weight.ndim - 1))
        torch.testing.assert_close(rounded_weight(weight), served)
    assert quantized.LEVELS == LEVELS


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_values_are_rounded_as_they_are_served(shift: float) -> None:
    x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)) + shift
    held = Range(min(0.0, float(x.min())), max(0.0, float(x.max())))
    there = quantized_ops.quantize(x, held.scale, held.zero_point, False)
    served = quantized_ops.dequantize(there, held.scale, held.zero_point, torch.float32)
    torch.testing.assert_close(rounded(x), served, atol=1e-6, rtol=0)


def test_layers_compute_on_rounded_values_and_gradients_pass() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten(), nn.Linear(4 * 9, 2))
    x = torch.randn(2, 3, 5, 5)
    plain = network(x)
    with Int8():
        found = network(x)
        inner = F.conv2d(x, network[0].weight)
    assert 0 < (found - plain).abs().max() < 0.05
    expected = F.conv2d(rounded(x), rounded_weight(network[0].weight))
    torch.testing.assert_close(inner, expected)
    found.sum().backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in network.parameters())


def test_a_recipe_trains_for_int8(colors: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Each step rounds: the weights differ from those of the same run without."""
    plain = train(recipe.override(["epochs=1"]), colors, tmp_path / "plain")
    trained = train(recipe.override(["epochs=1", "int8=true"]), colors, tmp_path / "int8")
    assert plain is not None
    assert trained is not None
    assert '"int8": true' in trained.card["recipe"]
    for (name, value), other in zip(
        plain.network.state_dict().items(), trained.network.state_dict().values(), strict=True
    ):
        if name.endswith("conv.weight"):
            assert 0 < (value - other).abs().max() < 0.1
