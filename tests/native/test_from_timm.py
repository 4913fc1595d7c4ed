"""What is read out of timm's data configs, against timm's transforms."""

from typing import Any

import numpy as np
import PIL
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torchvision.models import Swin_V2_T_Weights
from torchvision.transforms import v2

from falconet.native import Preprocessor, from_hf, from_timm, from_torchvision

CONFIG: dict[str, Any] = {
    "input_size": (3, 56, 56),
    "interpolation": "bicubic",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "crop_pct": 0.875,
    "crop_mode": "center",
}


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="bit for bit as Pillow 13")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"crop_mode": "squash"},
        {"crop_mode": "squash", "input_size": (3, 50, 61), "interpolation": "lanczos"},
        {"crop_mode": "border", "crop_pct": 0.95},
        {"crop_mode": "border", "crop_pct": 1.0, "interpolation": "bilinear"},
        {"crop_pct": 1.0, "mean": (0.5,) * 3, "std": (0.5,) * 3},
        {"input_size": (3, 50, 51), "crop_pct": 0.5, "crop_mode": "squash"},
        {"input_size": (3, 50, 50), "crop_pct": 0.9},  # 55.6 is cut to 55
    ],
)
def test_equals_timm(changes: dict[str, Any]) -> None:
    config = {**CONFIG, **changes}
    transform = create_transform(**config, is_training=False)
    preprocess = Preprocessor.from_timm(config)
    random = np.random.default_rng(0)
    for shape in [*random.integers(20, 300, (12, 2)), (375, 500), (56, 57)]:
        image = random.integers(0, 256, (*shape, 3), np.uint8)
        (got,) = preprocess([image])
        expected = np.asarray(transform(Image.fromarray(image)))
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6, strict=True)


def test_the_arguments_are_all_that_a_spec_says() -> None:
    """Whose names a spec has as well: the same for all three libraries."""
    squash = v2.Compose([v2.Resize((8, 8)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    hf = {"size": 8, "resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    names = {"size", "resize", "fit", "crop", "fill", "filter", "mean", "std", "exact_as"}
    for read in (
        from_timm.arguments(CONFIG),
        from_torchvision.arguments(squash),
        from_torchvision.arguments(Swin_V2_T_Weights.DEFAULT.transforms()),
        from_hf.arguments(hf),
    ):
        assert read.keys() == names


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_reads_what_timm_says_of_a_model(name: str) -> None:
    config = resolve_model_data_config(timm.create_model(name))
    preprocess = Preprocessor.from_timm(config, threads=2, layout="NHWC")
    assert preprocess.size == config["input_size"][1:]
    assert preprocess.filter == config["interpolation"]
    assert (preprocess.threads, preprocess.layout) == (2, "NHWC")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interpolation": "random"}, "expected an interpolation of box, .* got 'random'"),
        ({"interpolation": "nearest"}, "got 'nearest'"),
        ({"crop_mode": "corner"}, "expected the crop mode .*, got 'corner'"),
        ({"crop_mode": "border", "input_size": (3, 50, 80)}, "square for the crop mode 'border'"),
        ({"input_size": (3, 50, 80)}, "square for the crop mode 'center', got 50x80"),
        ({"input_size": (1, 56, 56)}, "expected 1 numbers in mean and std"),
    ],
)
def test_what_cannot_be_stated_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"timm: .*{message}"):
        Preprocessor.from_timm({**CONFIG, **changes})


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValueError, match="timm: expected the field 'crop_pct'"):
        Preprocessor.from_timm({k: v for k, v in CONFIG.items() if k != "crop_pct"})
