"""What is read out of Hugging Face's image processors, against those themselves."""

from typing import Any

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

from falconet.native import Preprocessor

transformers = pytest.importorskip("transformers", minversion="5.0")

pillow_13 = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="bit for bit as Pillow 13"
)
torch_avx2 = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="elsewhere torch has other arithmetic",
)

# And torchvision since 0.27, which is made for it.
TORCH_HAS_LANCZOS = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 12)

# By the name of the processor: what is changed of its defaults, mostly to be smaller.
PROCESSORS: list[tuple[str, dict[str, Any]]] = [
    ("ViT", {"size": {"height": 50, "width": 61}}),
    ("ViT", {"size": 48, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 127.5}),
    ("ViT", {"size": {"height": 50, "width": 50}, "do_normalize": False}),
    ("ViT", {"size": {"height": 40, "width": 40}, "resample": 1}),
    ("CLIP", {"size": {"shortest_edge": 64}, "crop_size": {"height": 57, "width": 64}}),
    ("CLIP", {"size": 57, "crop_size": 57}),
    ("Bit", {"size": {"shortest_edge": 64}, "crop_size": 57}),
    ("DeiT", {"size": {"height": 64, "width": 71}, "crop_size": {"height": 57, "width": 50}}),
    ("ConvNext", {"size": {"shortest_edge": 56}}),
    ("ConvNext", {"size": {"shortest_edge": 61}, "crop_pct": 0.9}),
    ("ConvNext", {}),
    ("Levit", {"size": {"shortest_edge": 57}, "crop_size": {"height": 57, "width": 57}}),
    ("MobileNetV1", {"size": {"shortest_edge": 64}, "crop_size": {"height": 57, "width": 57}}),
    ("MobileNetV2", {"size": {"shortest_edge": 64}, "crop_size": {"height": 57, "width": 57}}),
    ("Beit", {"size": {"height": 50, "width": 61}}),
    ("Blip", {"size": {"height": 50, "width": 61}}),
    ("Pvt", {"size": {"height": 50, "width": 61}}),
    ("Siglip", {"size": {"height": 50, "width": 61}}),
    ("ChineseCLIP", {"size": {"shortest_edge": 64}, "crop_size": {"height": 57, "width": 64}}),
]


def images() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shapes = [*random.integers(40, 300, (6, 2)), (375, 500), (300, 232)]
    return [random.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]


def assert_same(preprocess: Preprocessor, processor: Any) -> None:
    for image in images():
        (got,) = preprocess([image])
        values = processor(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
        # Some multiply by the scale in float64, or divide where we multiply.
        largest = max(1, np.abs(values).max())
        np.testing.assert_allclose(got, values, rtol=0, atol=1e-6 * largest, strict=False)


@pillow_13
@pytest.mark.parametrize(("name", "changes"), PROCESSORS)
def test_equals_the_pil_backend(name: str, changes: dict[str, Any]) -> None:
    processor = getattr(transformers, f"{name}ImageProcessorPil")(**changes)
    preprocess = Preprocessor.from_hf(processor)
    assert preprocess.exact_as == "pillow"
    assert_same(preprocess, processor)
    assert preprocess == Preprocessor.from_hf(processor.to_dict(), exact_as="pillow")


@torch_avx2
@pytest.mark.parametrize(("name", "changes"), PROCESSORS)
def test_equals_the_torchvision_backend(name: str, changes: dict[str, Any]) -> None:
    if changes.get("resample") == 1 and not TORCH_HAS_LANCZOS:
        pytest.skip("instead of lanczos, transformers would take bicubic")
    processor = getattr(transformers, f"{name}ImageProcessor")(**changes)
    preprocess = Preprocessor.from_hf(processor)
    assert preprocess.exact_as == "torch"
    assert_same(preprocess, processor)
    assert preprocess == Preprocessor.from_hf(processor.to_dict())


@pillow_13
def test_padding_equals_the_pil_backend() -> None:
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 50}, crop_size={"height": 73, "width": 57}
    )
    assert_same(Preprocessor.from_hf(processor), processor)
    with pytest.raises(ValueError, match="expected a size of at least the crop's, 73x57"):
        Preprocessor.from_hf(processor.to_dict())


VIT: dict[str, Any] = {
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def test_a_config_of_earlier_versions() -> None:
    config = {**VIT, "size": 32, "feature_extractor_type": "ViTFeatureExtractor"}
    assert Preprocessor.from_hf(config) == Preprocessor.from_hf(VIT)
    crop = {"do_center_crop": True, "crop_size": 32}
    fast = {**config, **crop, "image_processor_type": "CLIPImageProcessorFast"}
    assert Preprocessor.from_hf(fast).resize == 32
    assert Preprocessor.from_hf({**fast, "default_to_square": True}).resize == (32, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resample": 0}, r"expected resample to be 1 \(lanczos\), .* got 0"),
        ({"resample": 4}, "exact_as: expected 'pillow' for the filters"),
        ({"resample": None}, "expected the field 'resample'"),
        ({"do_resize": False}, "expected do_resize to be True, got False, for images of any size"),
        ({"do_pad": True}, "do_pad to be False, got True, for padding"),
        ({"rescale_offset": True}, "rescale_offset to be False, got True, for an offset"),
        ({"do_flip_channel_order": True}, "BGR"),
        ({"image_processor_type": "MobileViTImageProcessor"}, "got MobileViTImageProcessor"),
        ({"image_processor_type": "EfficientNetImageProcessor"}, "got EfficientNetImageProcessor"),
        ({"size": {"shortest_edge": 32}}, "or do_center_crop, .* sizes of their own"),
        ({"size": {"shortest_edge": 32, "longest_edge": 99}}, "or of shortest_edge, got"),
        ({"size": {"max_height": 32, "max_width": 99}}, "height and width, or of shortest_edge"),
        ({"do_center_crop": True}, "expected the field 'crop_size'"),
        ({"crop_size": 32}, "expected the field 'do_center_crop' beside crop_size"),
        ({"do_center_crop": True, "crop_size": {"shortest_edge": 3}}, "expected a crop_size of"),
        ({"crop_pct": 0.9}, "expected the size's shortest_edge"),
        ({"image_mean": None}, "expected the field 'image_mean'"),
    ],
)
def test_what_cannot_be_stated_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preprocessor.from_hf({**VIT, **changes})
