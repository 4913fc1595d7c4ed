"""resize against Pillow: not one byte may differ."""

import numpy as np
import PIL
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from falconet.native import FILTERS, resize

# Pillow 13 changed which pass goes first, and with it the rounding. We follow 13.
pillow_13 = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="bit for bit as Pillow 13"
)
MODES = {1: "L", 3: "RGB", 4: "CMYK"}


def pillow(image: np.ndarray, size: tuple[int, int], filter: str) -> np.ndarray:
    height, width, channels = image.shape
    picture = Image.frombytes(MODES[channels], (width, height), image.tobytes())
    resized = picture.resize((size[1], size[0]), Image.Resampling[filter.upper()])
    return np.asarray(resized).reshape(*size, channels)


def picture(height: int, width: int, channels: int, seed: int) -> np.ndarray:
    """Noise, or black and white noise, whose overshoot has to be clipped."""
    random = np.random.default_rng(seed)
    if seed % 2:
        return random.integers(0, 2, (height, width, channels), np.uint8) * 255
    return random.integers(0, 256, (height, width, channels), np.uint8)


sides = st.integers(1, 70)


@pillow_13
@settings(max_examples=600, deadline=None)
@given(
    shape=st.tuples(sides, sides),
    size=st.tuples(sides, sides),
    channels=st.sampled_from([1, 3, 4]),
    filter=st.sampled_from(FILTERS),
    seed=st.integers(0, 2**32 - 1),
)
@example((1, 1), (1, 1), 3, "bilinear", 0)
@example((1, 1), (9, 7), 3, "lanczos", 0)
@example((1, 50), (1, 20), 1, "bicubic", 1)
@example((50, 1), (20, 1), 4, "hamming", 1)
@example((1, 50), (30, 50), 3, "box", 0)
@example((32, 32), (48, 20), 3, "bicubic", 1)  # horizontal first: the height grows
@example((64, 40), (10, 32), 3, "lanczos", 1)  # vertical first
@example((40, 30), (20, 20), 3, "bilinear", 0)  # 20 rows less, 10 columns less: just not
@example((41, 30), (20, 20), 3, "bilinear", 0)  # 21 rows less: vertical first
def test_equals_pillow(
    shape: tuple[int, int], size: tuple[int, int], channels: int, filter: str, seed: int
) -> None:
    image = picture(*shape, channels, seed)
    np.testing.assert_array_equal(resize(image, size, filter), pillow(image, size, filter))


@pillow_13
@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((375, 500), (256, 341)),
        ((400, 64), (10, 32)),
        ((300, 30), (24, 24)),
        ((1080, 1920), (224, 398)),
        ((2400, 1080), (224, 224)),
        ((20, 30), (700, 900)),
        ((3, 2000), (3, 1)),
    ],
)
def test_equals_pillow_at_real_sizes(
    shape: tuple[int, int], size: tuple[int, int], filter: str
) -> None:
    image = picture(*shape, 3, 2)
    np.testing.assert_array_equal(resize(image, size, filter), pillow(image, size, filter))


def test_the_pass_order_matters() -> None:
    """The vertical-first examples above can fail: the other order gives other bytes."""
    image = picture(64, 40, 3, 1)
    horizontal_first = resize(resize(image, (64, 32), "lanczos"), (10, 32), "lanczos")
    assert (horizontal_first != resize(image, (10, 32), "lanczos")).mean() > 0.01


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a[::2, ::3],
        lambda a: a[5:-5, 7:-7],
        lambda a: a.transpose(1, 0, 2),
        lambda a: a[..., ::-1],
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: np.asfortranarray(a),
    ],
)
def test_any_strides(view) -> None:  # type: ignore[no-untyped-def]
    image = view(picture(60, 50, 3, 4))
    np.testing.assert_array_equal(
        resize(image, (20, 31), "bicubic"), resize(image.copy(order="C"), (20, 31), "bicubic")
    )


def test_two_dimensions_are_one_channel() -> None:
    image = picture(20, 30, 1, 6)
    flat = resize(image[..., 0], (9, 8))
    assert flat.shape == (9, 8)
    np.testing.assert_array_equal(flat, resize(image, (9, 8))[..., 0])


def test_read_only_and_unchanged() -> None:
    image = picture(20, 30, 3, 8)
    before = image.copy()
    image.flags.writeable = False
    same_size = resize(image, (20, 30))
    same_size[:] = 0  # a copy, even where there is nothing to do
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("image", "size", "filter", "error", "message"),
    [
        ([[1, 2]], (4, 4), "box", TypeError, r"image: expected a uint8 NumPy array.*got list"),
        (np.zeros((4, 4, 3)), (4, 4), "box", TypeError, "got dtype float64"),
        (np.zeros((4, 4, 3), np.int8), (4, 4), "box", TypeError, "got dtype int8"),
        (np.zeros((4, 4, 2), np.uint8), (4, 4), "box", ValueError, r"got shape \(4, 4, 2\)"),
        (np.zeros(4, np.uint8), (4, 4), "box", ValueError, r"got shape \(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), (4, 4), "box", ValueError, r"got shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.uint8), (0, 4), "box", ValueError, "height: expected 1 to"),
        (np.zeros((4, 4, 3), np.uint8), (4, -1), "box", ValueError, "width.* got -1"),
        (np.zeros((4, 4, 3), np.uint8), (4, 2**24 + 1), "box", ValueError, "got 16777217"),
        (np.zeros((4, 4, 3), np.uint8), (4, 2**80), "box", ValueError, "width: expected 1 to"),
        (np.zeros((4, 4, 3), np.uint8), (4.0, 4), "box", TypeError, "expected an integer"),
        (np.zeros((4, 4, 3), np.uint8), 4, "box", TypeError, r"expected \(height, width\), got 4"),
        (np.zeros((4, 4, 3), np.uint8), (4,), "box", TypeError, r"expected \(height, width\)"),
        (np.zeros((4, 4, 3), np.uint8), b"44", "box", TypeError, r"expected \(height, width\)"),
        (
            np.zeros((4, 4, 3), np.uint8),
            (4, 4),
            None,
            TypeError,
            "filter: expected a string, got N",
        ),
        (np.zeros((4, 4, 3), np.uint8), (4, 4), "cubic", ValueError, "'bicubic'.*got 'cubic'"),
    ],
)
def test_clear_errors(image, size, filter, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        resize(image, size, filter)


def test_a_result_too_large_for_memory_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        resize(np.zeros((1, 1, 4), np.uint8), (2**24, 2**24))


@pytest.mark.bad_alloc
def test_a_view_too_large_to_copy_is_a_memory_error() -> None:
    endless = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (2**24, 2**24, 3))
    with pytest.raises(MemoryError):
        resize(endless, (4, 4))
