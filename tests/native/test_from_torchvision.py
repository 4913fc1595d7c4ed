"""What is read out of torchvision's transforms, against those themselves."""

from typing import Any

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms as tv
from torchvision.models import ConvNeXt_Tiny_Weights, Inception_V3_Weights, Swin_V2_T_Weights
from torchvision.transforms import v2

from falconet.native import Preprocessor
from falconet.native.from_torchvision import arguments

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODES = tv.InterpolationMode

pillow_13 = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="bit for bit as Pillow 13"
)
torch_avx2 = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="elsewhere torch has other arithmetic",
)


def images() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shapes = [*random.integers(20, 400, (8, 2)), (375, 500), (224, 224), (300, 232)]
    return [random.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]


def assert_same(preprocess: Preprocessor, transform: Any, as_given: Any) -> None:
    for image in images():
        (got,) = preprocess([image])
        expected = np.asarray(transform(as_given(image)))
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6, strict=True)


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


NORMALIZE = tv.Normalize(MEAN, STD)
OLD = tv.Compose([tv.Resize(64), tv.CenterCrop((56, 50)), tv.ToTensor(), NORMALIZE])
SQUASH = tv.Compose(
    [tv.Resize((40, 61), MODES.BICUBIC), tv.PILToTensor(), tv.ConvertImageDtype(torch.float32)]
)
NEW = v2.Compose(
    [
        v2.Resize(70, MODES.LANCZOS),
        v2.CenterCrop(64),
        v2.ToImage(),
        v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Identity(), v2.ToPureTensor()]),
        v2.Normalize(list(MEAN), list(STD)),
    ]
)
LARGER = tv.Compose([tv.Resize([64]), tv.CenterCrop(90), tv.ToTensor()])
BOTH = tv.Compose([tv.Resize((70, 80), MODES.BOX), tv.CenterCrop(64), tv.ToTensor(), NORMALIZE])
GIVEN_TENSORS = nn.Sequential(
    v2.Resize(64, MODES.BICUBIC), tv.CenterCrop(56), tv.ConvertImageDtype(torch.float32), NORMALIZE
)
MAKES_TENSORS = v2.Compose(
    [
        v2.ToImage(),
        v2.Resize((40, 61)),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(MEAN), list(STD)),
    ]
)


@pillow_13
@pytest.mark.parametrize(
    "transform",
    [
        OLD,
        SQUASH,
        NEW,
        LARGER,
        BOTH,
        Inception_V3_Weights.DEFAULT.transforms(),
        ConvNeXt_Tiny_Weights.DEFAULT.transforms(),
        Swin_V2_T_Weights.DEFAULT.transforms(),
    ],
)
def test_on_pil_images(transform: Any) -> None:
    preprocess = Preprocessor.from_torchvision(transform)
    assert preprocess.exact_as == "pillow"
    assert_same(preprocess, transform, Image.fromarray)


@torch_avx2
@pytest.mark.parametrize("transform", [GIVEN_TENSORS, MAKES_TENSORS])
def test_on_tensors_by_itself(transform: Any) -> None:
    preprocess = Preprocessor.from_torchvision(transform)
    assert preprocess.exact_as == "torch"
    assert_same(preprocess, transform, as_tensor)


@pillow_13
@torch_avx2
def test_on_tensors_where_it_is_said() -> None:
    steps = [v2.Resize(64), v2.CenterCrop(56), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    transform = v2.Compose(steps)
    assert_same(Preprocessor.from_torchvision(transform, exact_as="torch"), transform, as_tensor)
    assert_same(Preprocessor.from_torchvision(transform), transform, Image.fromarray)


def test_tensors_are_resized_as_floats_without_v2() -> None:
    """Which gives other bytes than ours and v2's."""
    first = tv.Compose([tv.Resize((40, 61)), tv.ConvertImageDtype(torch.float32)])
    second = v2.Compose([v2.Resize((40, 61)), tv.ConvertImageDtype(torch.float32)])
    image = as_tensor(images()[0])
    assert not torch.equal(first(image), second(image))
    preset = Swin_V2_T_Weights.DEFAULT.transforms()
    for transform in (first, preset):
        with pytest.raises(ValueError, match=r"expected the Resize of transforms\.v2 for tensors"):
            Preprocessor.from_torchvision(transform, exact_as="torch")


def test_how_the_batch_lies_is_chosen_here() -> None:
    preprocess = Preprocessor.from_torchvision(OLD, threads=2, layout="NHWC", dtype="bfloat16")
    assert (preprocess.threads, preprocess.layout, preprocess.dtype) == (2, "NHWC", "bfloat16")
    assert preprocess == Preprocessor(**arguments(OLD), threads=2, layout="NHWC", dtype="bfloat16")


TO_FLOAT = v2.ToDtype(torch.float32, scale=True)


@pytest.mark.parametrize(
    ("steps", "exact_as", "message"),
    [
        ([tv.ToTensor(), NORMALIZE], None, "expected a Resize among the steps, got none"),
        ([tv.Resize(8), tv.CenterCrop(8)], None, "expected a conversion to floats from 0 to 1"),
        ([tv.Resize(8), tv.ToTensor()], None, "expected a CenterCrop after a Resize to one number"),
        ([tv.ToTensor(), tv.Resize((8, 8))], None, r"in this order, got Resize\(size=\(8, 8\)"),
        ([tv.CenterCrop(8), tv.Resize(8), tv.ToTensor()], None, "in this order, got Resize"),
        ([tv.Resize(8), tv.RandomCrop(8), tv.ToTensor()], None, "got RandomCrop"),
        ([tv.Resize((8, 8)), NORMALIZE], None, "got Normalize"),
        ([tv.Resize((8, 8)), tv.ToTensor(), NORMALIZE, NORMALIZE], None, "once each .* Normalize"),
        ([tv.Resize((8, 8)), tv.Grayscale(), tv.ToTensor()], None, "got Grayscale"),
        ([tv.Resize((8, 8), MODES.NEAREST), tv.ToTensor()], None, "with a filter, .* got nearest"),
        ([tv.Resize(8, max_size=9), tv.CenterCrop(8), tv.ToTensor()], None, "without max_size"),
        ([v2.Resize(None, max_size=9), tv.CenterCrop(8), tv.ToTensor()], None, "max_size"),
        ([v2.ToImage(), v2.Resize((8, 8)), TO_FLOAT], "pillow", "expected exact_as='torch'"),
        ([tv.Resize((8, 8)), tv.ToTensor()], "torch", "expected exact_as='pillow'"),
        ([v2.Resize((8, 8)), v2.ToDtype(torch.float32)], None, "that scales bytes to 0 to 1"),
        ([v2.Resize((8, 8)), v2.ToDtype(torch.float16, True)], None, "to torch.float32"),
        ([v2.Resize((8, 8), antialias=False), TO_FLOAT], None, "expected antialias=True"),
        ([v2.Resize((8, 8), MODES.BOX), TO_FLOAT], None, "exact_as: expected 'pillow'"),
    ],
)
def test_what_cannot_be_stated_is_refused(steps: list[Any], exact_as: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preprocessor.from_torchvision(tv.Compose(steps), exact_as=exact_as)
