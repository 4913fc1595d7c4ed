"""resize against Pillow and torch, in every implementation: not one byte may differ."""

import ctypes
import mmap
import os
import subprocess
import sys
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.transforms import v2

from falconet.native import FILTERS, Preprocessor, implementations, resize

# Pillow 13 changed which pass goes first, and with it the rounding. We follow 13.
pillow_13 = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="bit for bit as Pillow 13"
)
# torch has it since 2.12.
TORCH_HAS_LANCZOS = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 12)
PROT_NONE = 0
MODES = {1: "L", 3: "RGB", 4: "CMYK"}


def pillow(image: np.ndarray, size: tuple[int, int], filter: str) -> np.ndarray:
    height, width, channels = image.shape
    image = Image.frombytes(MODES[channels], (width, height), image.tobytes())
    resized = image.resize((size[1], size[0]), Image.Resampling[filter.upper()])
    return np.asarray(resized).reshape(*size, channels)


def random_image(height: int, width: int, channels: int, seed: int) -> np.ndarray:
    """Noise, or black and white noise, whose overshoot has to be clipped."""
    random = np.random.default_rng(seed)
    if seed % 2:
        return random.integers(0, 2, (height, width, channels), np.uint8) * 255
    return random.integers(0, 256, (height, width, channels), np.uint8)


def torch_resize(image: np.ndarray, size: tuple[int, int], filter: str) -> np.ndarray:
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    resized = interpolate(tensor, size=size, mode=filter, antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


sides = st.integers(1, 70)
every_implementation = pytest.mark.parametrize("implementation", implementations())


@pillow_13
@every_implementation
@settings(deadline=None)
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
    implementation: str,
    shape: tuple[int, int],
    size: tuple[int, int],
    channels: int,
    filter: str,
    seed: int,
) -> None:
    image = random_image(*shape, channels, seed)
    resized = resize(image, size, filter=filter, implementation=implementation)
    np.testing.assert_array_equal(resized, pillow(image, size, filter))


@pillow_13
@every_implementation
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
        ((40, 3000), (30, 250)),  # two, and one, output pixels to a load of 64 bytes
        ((40, 3000), (30, 90)),
        ((2000, 3), (20, 3)),
    ],
)
def test_equals_pillow_at_real_sizes(
    shape: tuple[int, int], size: tuple[int, int], filter: str, implementation: str
) -> None:
    image = random_image(*shape, 3, 2)
    resized = resize(image, size, filter=filter, implementation=implementation)
    np.testing.assert_array_equal(resized, pillow(image, size, filter))


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="elsewhere torch has other arithmetic",
)
@every_implementation
@settings(deadline=None)
@given(
    shape=st.tuples(sides, sides),
    size=st.tuples(sides, sides),
    channels=st.sampled_from([1, 3, 4]),
    filter=st.sampled_from(["bilinear", "bicubic", "lanczos"]),
    seed=st.integers(0, 2**32 - 1),
)
@example((64, 40), (10, 32), 3, "bicubic", 1)  # which Pillow would do vertically first
@example((375, 500), (256, 341), 3, "bilinear", 0)
def test_equals_torch(
    implementation: str,
    shape: tuple[int, int],
    size: tuple[int, int],
    channels: int,
    filter: str,
    seed: int,
) -> None:
    if filter == "lanczos" and not TORCH_HAS_LANCZOS:
        filter = "bicubic"
    image = random_image(*shape, channels, seed)
    resized = resize(image, size, filter=filter, exact_as="torch", implementation=implementation)
    np.testing.assert_array_equal(resized, torch_resize(image, size, filter))


@pillow_13
def test_the_references_differ() -> None:
    """Each test above could tell one from the other."""
    image = random_image(375, 500, 3, 2)
    with_pillow, with_torch = (resize(image, (256, 341), exact_as=r) for r in ("pillow", "torch"))
    differing = with_pillow != with_torch
    assert 0 < differing.mean() < 0.02
    assert np.abs(with_pillow.astype(int) - with_torch).max() == 1


@every_implementation
@settings(deadline=None)
@given(
    shape=st.tuples(sides, sides),
    size=st.tuples(sides, sides),
    channels=st.sampled_from([1, 3, 4]),
    filter=st.sampled_from(FILTERS),
    at_end=st.booleans(),
)
def test_reads_no_byte_outside_the_image(
    implementation: str,
    shape: tuple[int, int],
    size: tuple[int, int],
    channels: int,
    filter: str,
    at_end: bool,
) -> None:
    """The page before or after the image cannot be read: whoever tries is killed."""
    image = random_image(*shape, channels, 0)
    guarded = between_guard_pages(image, at_end)
    np.testing.assert_array_equal(
        resize(guarded, size, filter=filter, implementation=implementation),
        resize(image, size, filter=filter, implementation="scalar"),
    )


def between_guard_pages(image: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy that ends, or begins, right where the readable memory does."""
    page = mmap.PAGESIZE
    pages = (image.nbytes + page - 1) // page
    memory = mmap.mmap(-1, (pages + 2) * page)
    bytes_ = np.frombuffer(memory, np.uint8)
    start = page + (pages * page - image.nbytes if at_end else 0)
    copy = bytes_[start : start + image.nbytes].reshape(image.shape)
    copy[:] = image
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for guard in (0, (pages + 1) * page):
        address = ctypes.c_void_p(bytes_.ctypes.data + guard)
        if protect(address, ctypes.c_size_t(page), PROT_NONE) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    return copy


def test_the_pass_order_matters() -> None:
    """The vertical-first examples above can fail: the other order gives other bytes."""
    image = random_image(64, 40, 3, 1)
    horizontal_first = resize(resize(image, (64, 32), filter="lanczos"), (10, 32), filter="lanczos")
    assert (horizontal_first != resize(image, (10, 32), filter="lanczos")).mean() > 0.01


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
    image = view(random_image(60, 50, 3, 4))
    np.testing.assert_array_equal(
        resize(image, (20, 31), filter="bicubic"),
        resize(image.copy(order="C"), (20, 31), filter="bicubic"),
    )


@every_implementation
@pytest.mark.parametrize("size", [(20, 31), (60, 31), (20, 150), (60, 150), (5, 140), (70, 160)])
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[..., 2::-1],  # the colors of BGRA
        lambda a: a[..., :3],
        lambda a: a[..., 1:],
        lambda a: a[..., :0:-1],
        lambda a: a[..., ::-1],
        lambda a: a[..., :3].copy()[..., ::-1],  # BGR
        lambda a: a.transpose(2, 0, 1).copy().transpose(1, 2, 0),  # planes
        lambda a: a.transpose(2, 0, 1).copy()[1:].transpose(1, 2, 0),
        lambda a: a.transpose(2, 0, 1).copy()[::-1].transpose(1, 2, 0),
    ],
)
def test_spread_samples(view, size: tuple[int, int], implementation: str) -> None:  # type: ignore[no-untyped-def]
    """Those that are brought together on their way, in each order of the passes, and none."""
    image = view(random_image(60, 150, 4, 4))  # more than vectors hold, and some
    got = resize(image, size, filter="bicubic", implementation=implementation)
    expected = resize(image.copy(order="C"), size, filter="bicubic", implementation="scalar")
    np.testing.assert_array_equal(got, expected)
    assert got.flags.c_contiguous


def test_two_dimensions_are_one_channel() -> None:
    image = random_image(20, 30, 1, 6)
    flat = resize(image[..., 0], (9, 8))
    assert flat.shape == (9, 8)
    np.testing.assert_array_equal(flat, resize(image, (9, 8))[..., 0])


def test_read_only_and_unchanged() -> None:
    image = random_image(20, 30, 3, 8)
    before = image.copy()
    image.flags.writeable = False
    same_size = resize(image, (20, 30))
    same_size[:] = 0  # a copy, even where there is nothing to do
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("image", "size", "filter", "error", "message"),
    [
        ([[1, 2]], (4, 4), "box", TypeError, r"image: expected a uint8 array.*got list"),
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
        resize(image, size, filter=filter)


def test_a_result_too_large_for_memory_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        resize(np.zeros((1, 1, 4), np.uint8), (2**24, 2**24))


@pytest.mark.bad_alloc
def test_a_view_too_large_to_copy_is_a_memory_error() -> None:
    endless = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (2**24, 2**24, 3))
    with pytest.raises(MemoryError):
        resize(endless, (4, 4))


def test_an_implementation_is_chosen_by_the_caller_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = random_image(20, 30, 3, 8)
    assert implementations()[-1] == "scalar"
    with pytest.raises(ValueError, match=r"implementation: expected one .*'scalar', got 'mmx'"):
        resize(image, (4, 4), implementation="mmx")
    with pytest.raises(TypeError, match="implementation: expected a string, got int"):
        resize(image, (4, 4), implementation=2)  # type: ignore[arg-type]
    monkeypatch.setenv("FALCONET_IMPLEMENTATION", "mmx")
    with pytest.raises(ValueError, match=r"FALCONET_IMPLEMENTATION.*'scalar', got 'mmx'"):
        resize(image, (4, 4))
    resize(image, (4, 4), implementation="scalar")  # the caller is asked first


@pytest.mark.parametrize("name", [None, *implementations()])
def test_the_environment_chooses_an_implementation(name: str | None) -> None:
    program = (
        "from falconet.native import Preprocessor\n"
        "print(Preprocessor((4, 4)).implementation)\n"
        "print(Preprocessor((4, 4), implementation='scalar').implementation)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "FALCONET_IMPLEMENTATION"}
    if name is not None:
        environment["FALCONET_IMPLEMENTATION"] = name
    output = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    assert output.split() == [name or implementations()[0], "scalar"]


def test_torch_has_neither_box_nor_hamming() -> None:
    image = random_image(20, 30, 3, 8)
    with pytest.raises(ValueError, match="exact_as: expected 'pillow' for the filters 'box'"):
        resize(image, (4, 4), filter="box", exact_as="torch")
    with pytest.raises(ValueError, match="exact_as: expected 'pillow' or 'torch', got 'pil'"):
        resize(image, (4, 4), exact_as="pil")  # type: ignore[arg-type]


def test_what_torch_would_take_seconds_for_is_refused() -> None:
    """Its precision depends on the weights of all outputs, however few the crop keeps."""
    strip = random_image(1, 4000, 3, 8)
    with pytest.raises(ValueError, match=r"size: .* at most 65536 pixels with exact_as='torch'"):
        resize(strip, (1, 70_000), exact_as="torch")
    preprocess = Preprocessor((8, 8), resize=20, exact_as="torch")
    with pytest.raises(
        ValueError, match=r"images\[0\]: an image of 1x4000 .* more than 65536 long"
    ):
        preprocess([strip])
    with pytest.raises(ValueError, match="size and resize: expected at most 65536 pixels"):
        Preprocessor((8, 70_000), exact_as="torch")


STEPS = v2.Compose([v2.Resize((8, 8)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


@pytest.mark.parametrize(
    "call",
    [
        lambda **options: resize(random_image(40, 30, 3, seed=0), (12, 17), **options).tobytes(),
        lambda **options: Preprocessor((8, 8), **options),
        lambda **options: Preprocessor.from_torchvision(STEPS, **options),
    ],
)
def test_the_earlier_name_of_exact_as_is_accepted_with_a_warning(call: Any) -> None:
    with pytest.warns(DeprecationWarning, match="reference= is now exact_as=") as warned:
        earlier = call(reference="torch")
    assert warned[0].filename == __file__
    assert earlier == call(exact_as="torch") != call()
