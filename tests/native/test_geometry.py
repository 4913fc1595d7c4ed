"""What is resized to what, cropped and padded: against torchvision, timm and Hugging Face."""

import math
from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torchvision import transforms as tv

from falconet.native import Preprocessor, implementations, resize

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

pillow_13 = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="bit for bit as Pillow 13"
)
sides = st.integers(1, 90)
pairs = st.tuples(sides, sides)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    random = np.random.default_rng(height * 1000 + width)
    return random.integers(0, 256, (height, width, channels), np.uint8)


def assert_equal(got: np.ndarray, expected: Any) -> None:
    np.testing.assert_allclose(got, np.asarray(expected), rtol=0, atol=1e-6, strict=True)


@pillow_13
@settings(deadline=None)
@given(shape=pairs, resize=pairs, size=pairs)
@example((64, 40), (10, 32), (9, 31))  # the vertical pass first
@example((30, 90), (33, 40), (50, 31))  # padded above and below, cropped left and right
@example((33, 40), (33, 40), (33, 40))  # nothing to do
def test_both_sides_equal_torchvision(
    shape: tuple[int, int], resize: tuple[int, int], size: tuple[int, int]
) -> None:
    image = noise(*shape)
    expected = tv.Compose(
        [tv.Resize(resize), tv.CenterCrop(size), tv.ToTensor(), tv.Normalize(MEAN, STD)]
    )
    preprocess = Preprocessor(size, resize=resize)
    assert preprocess.resized(*shape) == resize
    assert_equal(preprocess([image])[0], expected(Image.fromarray(image)))


def like_timm(side: int, share: float, mode: str) -> dict[str, Any]:
    """The arguments for its evaluation transform."""
    scale = math.floor(side / share)
    if mode == "squash":
        return {"resize": (scale, scale)}
    if mode == "center":
        return {"resize": scale}
    return {"resize": scale, "fit": "longer", "fill": [round(255 * each) for each in MEAN]}


@pillow_13
@settings(deadline=None)
@given(
    shape=pairs,
    side=sides,
    share=st.sampled_from([0.5, 0.875, 0.9, 0.95, 1.0]),
    mode=st.sampled_from(["center", "squash", "border"]),
)
@example((375, 500), 224, 1.0, "border")  # padded above and below
@example((333, 500), 224, 1.0, "border")  # 149.18 rows; an odd number of them is missing
@example((500, 333), 224, 0.9, "border")  # cropped above and below, padded left and right
@example((500, 375), 224, 0.5, "border")  # cropped everywhere
@example((50, 75), 33, 1.0, "border")  # 22 rows
@example((90, 60), 47, 1.0, "border")  # 31.33 columns
@example((80, 50), 44, 1.0, "border")  # 27.5 columns, a half that rounds to 28
@example((80, 50), 60, 1.0, "border")  # 37.5 columns, a half that rounds to 38
@example((80, 50), 20, 1.0, "border")  # 12.5 columns, a half that rounds to 12
@example((20, 30), 60, 1.0, "border")  # enlarged
@example((375, 500), 224, 0.95, "squash")
@example((300, 200), 65, 0.9, "squash")  # 7 to cut, a half that rounds to 4
def test_equals_timm(shape: tuple[int, int], side: int, share: float, mode: str) -> None:
    longer, shorter = max(shape), min(shape)
    # It has no image without pixels.
    assume(mode != "border" or round(shorter * math.floor(side / share) / longer) > 0)
    expected = transforms_imagenet_eval(
        side, crop_pct=share, crop_mode=mode, interpolation="bicubic", mean=MEAN, std=STD
    )
    image = noise(*shape)
    preprocess = Preprocessor(
        (side, side), filter="bicubic", mean=MEAN, std=STD, **like_timm(side, share, mode)
    )
    assert_equal(preprocess([image])[0], expected(Image.fromarray(image)))


@pytest.mark.parametrize("longer", [1, 7, 224, 255, 2**24])
def test_the_longer_side_gets_its_length(longer: int) -> None:
    preprocess = Preprocessor((8, 8), resize=longer, fit="longer")
    for height in (1, 2, 3, 97, 499, 500, 4_097, 16_777_216):
        for width in (1, 3, 333, 500, 65_535):
            got = preprocess.resized(height, width)
            ratio = max(height / longer, width / longer)
            assert got == (max(1, round(height / ratio)), max(1, round(width / ratio)))
            assert max(got) == longer


def test_the_shorter_side_keeps_a_pixel() -> None:
    """Where timm fails: a line of 1000 pixels on an image of 224."""
    preprocess = Preprocessor((5, 224), resize=224, fit="longer", mean=(0,), std=(1,), fill=255)
    assert preprocess.resized(1, 1000) == (1, 224)
    (got,) = preprocess([np.zeros((1, 1000, 1), np.uint8)])
    np.testing.assert_array_equal(got[0, :, 0], [1, 1, 0, 1, 1])


def hugging_face_crop(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """center_crop of transformers.image_transforms 5.24: Python's // in both directions."""
    corners = [(have - want) // 2 for have, want in zip(image.shape, size, strict=False)]
    before = [max(0, -corner) for corner in corners]
    room = [
        (first, max(0, corner + want - have))
        for first, corner, want, have in zip(before, corners, size, image.shape, strict=False)
    ]
    top, left = (max(0, corner) for corner in corners)
    return np.pad(image, [*room, (0, 0)])[top : top + size[0], left : left + size[1]]


@settings(deadline=None)
@given(shape=pairs, resize_to=st.none() | sides | pairs, size=pairs)
@example((375, 500), 256, (224, 224))  # 117 columns to cut: 58
@example((256, 343), 256, (224, 224))  # 119: 59, where torchvision cuts 60
@example((30, 40), (30, 40), (51, 61))  # padded, the odd pixel before
@example((30, 90), (33, 90), (50, 61))  # padded above and below, cropped left and right
def test_center_floor_equals_hugging_face(
    shape: tuple[int, int], resize_to: Any, size: tuple[int, int]
) -> None:
    image = noise(*shape)
    preprocess = Preprocessor(size, resize=resize_to, layout="NHWC", crop="center_floor")
    resized = resize(image, preprocess.resized(*shape))
    as_is = Preprocessor(size, layout="NHWC")
    np.testing.assert_array_equal(
        preprocess([image]), as_is([hugging_face_crop(resized, size).copy()])
    )


@pytest.mark.parametrize("implementation", implementations())
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_fill_is_a_color(implementation: str, layout: Any, channels: int) -> None:
    fill = (7, 0, 255, 128)[:channels]
    preprocess = Preprocessor(
        (9, 41),  # longer than what a kernel works on at a time
        resize=(4, 8),
        mean=(0.0,) * channels,
        std=(1 / 255,) * channels,
        layout=layout,
        fill=fill,
        implementation=implementation,
    )
    image = noise(4, 8, channels)
    expected = np.full((9, 41, channels), fill, np.float32)
    expected[2:6, 16:24] = image
    (got,) = preprocess([image])
    if layout == "NCHW":
        got = got.transpose(1, 2, 0)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def geometry(preprocess: Preprocessor) -> tuple[Any, ...]:
    return preprocess.resize, preprocess.fit, preprocess.crop, preprocess.fill


DEFAULT = (None, "shorter", "center", (0, 0, 0))


def test_arguments_can_be_read() -> None:
    assert geometry(Preprocessor((8, 9))) == DEFAULT
    given = Preprocessor((8, 8), resize=9, fit="longer", crop="center_floor", fill=[1, 2, 3])
    assert geometry(given) == (9, "longer", "center_floor", (1, 2, 3))
    assert Preprocessor((8, 8), resize=(9, np.int64(7)), fill=5).resize == (9, 7)
    assert "resize=9, fit='longer', crop='center_floor', fill=(1, 2, 3)" in repr(given)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"resize": (9,)}, TypeError, r"resize: expected None, an integer or \(height, width\)"),
        ({"resize": "99"}, TypeError, r"resize: expected None, .*, got '99'"),
        ({"resize": (9, 0)}, ValueError, r"resize\[1\], the width: expected 1 to 16777216, got 0"),
        ({"resize": (9.0, 9)}, TypeError, r"resize\[0\], the height: expected an integer"),
        ({"resize": 0, "fit": "longer"}, ValueError, "resize, the longer side: expected 1 to"),
        ({"fit": "longer"}, ValueError, "fit: 'longer' expects .* longer side's length, got None"),
        ({"fit": "longer", "resize": (9, 9)}, ValueError, r"fit: 'longer' expects .*\(9, 9\)"),
        ({"fit": "longest"}, ValueError, "fit: expected 'shorter' or 'longer', got 'longest'"),
        ({"crop": "left"}, ValueError, "crop: expected 'center' or 'center_floor', got 'left'"),
        ({"crop": None}, TypeError, "crop: expected a string, got NoneType"),
        ({"fill": 256}, ValueError, "fill: expected 0 to 255, got 256"),
        ({"fill": (0, -1, 0)}, ValueError, "fill: expected 0 to 255, got -1"),
        ({"fill": (0, 0)}, ValueError, "fill: expected one byte per channel, got 2 for 3"),
        ({"fill": 0.5}, TypeError, "fill: expected a byte, or one per channel, got 0.5"),
        ({"fill": (0.5, 0, 0)}, TypeError, "fill: expected an integer, got float"),
        (
            {"exact_as": "torch", "resize": (8, 70_000)},
            ValueError,
            "size and resize: expected at most 65536",
        ),
    ],
)
def test_clear_errors(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Preprocessor((8, 8), **arguments)


def test_from_spec_reads_it_as_json_has_it() -> None:
    spec: dict[str, Any] = {
        "size": [24, 30],
        "resize": [28, 40],
        "crop": "center_floor",
        "fill": [1, 2, 3],
        "filter": "bicubic",
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
    }
    both = Preprocessor.from_spec(spec)
    assert geometry(both) == ((28, 40), "shorter", "center_floor", (1, 2, 3))
    longer = Preprocessor.from_spec({**spec, "resize": 28, "fit": "longer", "fill": 9})
    assert geometry(longer) == (28, "longer", "center_floor", (9, 9, 9))
    least = {name: spec[name] for name in ("size", "filter", "mean", "std")}
    assert geometry(Preprocessor.from_spec(least)) == DEFAULT
