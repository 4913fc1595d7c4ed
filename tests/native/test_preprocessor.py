"""Preprocessor against torchvision on PIL images."""

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
from torchvision import transforms as tv
from torchvision.transforms import v2

from falconet.native import FILTERS, Preprocessor, implementations

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def torchvision(
    image: np.ndarray, size: tuple[int, int], resize: int | None, filter: str
) -> np.ndarray:
    mode = tv.InterpolationMode[filter.upper()]
    if resize is None:
        geometry: list[Any] = [tv.Resize(size, mode)]
    else:
        geometry = [tv.Resize(resize, mode), tv.CenterCrop(size)]
    pipeline = tv.Compose([*geometry, tv.ToTensor(), tv.Normalize(MEAN, STD)])
    return np.asarray(pipeline(Image.fromarray(image)))


sides = st.integers(1, 90)


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="bit for bit as Pillow 13")
@settings(deadline=None)
@given(
    shape=st.tuples(sides, sides),
    size=st.tuples(sides, sides),
    resize=st.none() | st.integers(1, 60),
    filter=st.sampled_from(FILTERS),
)
@example((375, 500), (224, 224), 256, "bilinear")  # 341 - 224 = 117: a half that rounds to 58
@example((500, 335), (224, 224), 224, "bicubic")  # 334.3 is cut to 334
@example((256, 343), (224, 224), 256, "bilinear")  # 119 / 2 rounds to 60
@example((30, 40), (50, 61), 33, "lanczos")  # too small: padded, the odd pixel after
@example((30, 90), (50, 61), 33, "box")  # padded above and below, cropped left and right
@example((32, 32), (32, 32), None, "bilinear")  # nothing to resize
def test_equals_torchvision_to_1e_6(
    shape: tuple[int, int], size: tuple[int, int], resize: int | None, filter: str
) -> None:
    image = noise(*shape, seed=shape[0])
    (got,) = Preprocessor(size, resize=resize, filter=filter, mean=MEAN, std=STD)([image])
    np.testing.assert_allclose(
        got, torchvision(image, size, resize, filter), rtol=0, atol=1e-6, strict=True
    )


@pytest.mark.parametrize("implementation", implementations()[:-1])  # the last is "scalar"
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("exact_as", ["pillow", "torch"])
def test_every_implementation_gives_the_same_bytes(
    implementation: str, channels: int, layout: Any, dtype: Any, exact_as: Any
) -> None:
    images = [noise(20, 30 + i, channels, i) for i in range(3)]
    images += [noise(25, 27, channels)]  # as it comes, but for the crop
    images += [noise(70, 300, channels), noise(300, 40, channels), noise(9, 8, channels)]
    mean, std = (0.1, 0.5, 0.9, 0.3)[:channels], (0.25, 0.5, 1.5, 3.0)[:channels]
    for size, resize in [((24, 26), 25), ((31, 33), 9), ((5, 7), None), ((1, 1), 3)]:
        batches = [
            Preprocessor(
                size,
                resize=resize,
                filter="bicubic",
                mean=mean,
                std=std,
                layout=layout,
                dtype=dtype,
                exact_as=exact_as,
                implementation=name,
            )(images)
            for name in (implementation, "scalar")
        ]
        np.testing.assert_array_equal(*batches, strict=True)


def test_bfloat16_is_the_nearest_to_float32() -> None:
    """For every byte, with ImageNet's and CLIP's numbers, and where a float32 lies halfway."""
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    clip = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    halves = ((0.0,) * 3, (1 / 255 / 1.00390625,) * 3)
    for mean, std in [(MEAN, STD), clip, halves]:
        exact = torch.from_numpy(Preprocessor((16, 16), mean=mean, std=std)([image]))
        bits = Preprocessor((16, 16), mean=mean, std=std, dtype="bfloat16")([image])
        assert bits.dtype == np.uint16
        rounded = torch.from_numpy(bits).view(torch.bfloat16)
        assert torch.equal(rounded, exact.to(torch.bfloat16))


def test_bfloat16_into_a_tensor() -> None:
    images = [noise(20, 30, seed=i) for i in range(4)]
    preprocess = Preprocessor((10, 11), dtype="bfloat16")
    out = torch.full((4, 3, 10, 11), torch.nan, dtype=torch.bfloat16)
    preprocess(images, out=out)
    np.testing.assert_array_equal(out.view(torch.uint16).numpy(), preprocess(images))
    with pytest.raises(TypeError, match=r"out: .* uint16 array .* got dtype float32"):
        preprocess(images, out=torch.zeros(4, 3, 10, 11))


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="elsewhere torch has other arithmetic",
)
@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(375, 500), (500, 375), (256, 300), (120, 90), (700, 300)])
def test_equals_torchvision_on_tensors(filter: Any, shape: tuple[int, int]) -> None:
    image = noise(*shape)
    pipeline = v2.Compose(
        [
            v2.Resize(256, v2.InterpolationMode[filter.upper()], antialias=True),
            v2.CenterCrop(224),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    expected = pipeline(torch.from_numpy(image).permute(2, 0, 1))
    (got,) = Preprocessor((224, 224), resize=256, filter=filter, exact_as="torch")([image])
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_layouts_hold_the_same_values(channels: int) -> None:
    images = [noise(20, 30, channels, i) for i in range(3)]
    mean, std = [0.5] * channels, [0.25] * channels
    nchw = Preprocessor((12, 40), resize=14, mean=mean, std=std)(images)
    nhwc = Preprocessor((12, 40), resize=14, mean=mean, std=std, layout="NHWC")(images)
    assert nhwc.shape == (3, 12, 40, channels)
    np.testing.assert_array_equal(nhwc.transpose(0, 3, 1, 2), nchw)


def test_gray_images_may_be_flat() -> None:
    image = noise(20, 30, 1)
    preprocess = Preprocessor((8, 8), mean=[0.5], std=[0.5])
    np.testing.assert_array_equal(preprocess([image[..., 0]]), preprocess([image]))


def test_no_images_are_an_empty_batch() -> None:
    assert Preprocessor((8, 9))([]).shape == (0, 3, 8, 9)


@pytest.mark.parametrize(
    "make",
    [
        lambda shape: np.full(shape, np.nan, np.float32),
        lambda shape: torch.full(shape, torch.nan),
        lambda shape: memoryview(np.full(shape, np.nan, np.float32)),
    ],
    ids=["array", "tensor", "buffer"],
)
def test_out_is_filled_in_place(make: Any) -> None:
    images = [noise(20, 30, seed=i) for i in range(4)]
    preprocess = Preprocessor((10, 11))
    out = make((4, 3, 10, 11))
    returned = preprocess(images, out=out)
    np.testing.assert_array_equal(np.asarray(out), preprocess(images))
    assert returned is out


def unaligned(shape: tuple[int, ...]) -> np.ndarray:
    size = 4 * int(np.prod(shape))
    return np.zeros(size + 1, np.uint8)[1:].view(np.float32).reshape(shape)


class Copies:
    """Would take a result and lose it."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return np.zeros((1, 3, 8, 8), np.float32)


def read_only(shape: tuple[int, ...]) -> np.ndarray:
    array = np.zeros(shape, np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((1, 3, 8, 8)), TypeError, "out: expected a writable.*got dtype float64"),
        (np.zeros((1, 3, 8, 9), np.float32), ValueError, r"\(1, 3, 8, 8\), got shape"),
        (np.zeros((1, 3, 8, 16), np.float32)[..., ::2], ValueError, "not contiguous"),
        (read_only((1, 3, 8, 8)), ValueError, "read-only"),
        (np.zeros((1, 3, 8, 8), ">f4"), TypeError, "got dtype >f4"),
        (unaligned((1, 3, 8, 8)), ValueError, "not aligned"),
        (Copies(), TypeError, "got a Copies, which gives a copy of its data"),
        ([0.0], TypeError, "out: expected an array, tensor or buffer, got list"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int32), TypeError, "got dtype int32"),
    ],
)
def test_an_out_that_does_not_fit_is_refused(out: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Preprocessor((8, 8))([noise(5, 5)], out=out)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ("cat.png", TypeError, r"images\[2\]: expected a uint8 array.*got str"),
        (noise(4, 4).astype(np.float32), TypeError, r"images\[2\].*got dtype float32"),
        (noise(4, 4, 4), ValueError, r"images\[2\].*\(height, width, 3\), got shape \(4, 4, 4\)"),
        (noise(4, 4)[:, :, 0], ValueError, r"images\[2\].*got shape \(4, 4\)"),
        (noise(4, 4)[:0], ValueError, r"images\[2\].*got shape \(0, 4, 3\)"),
    ],
)
def test_a_bad_image_is_named_by_its_index(bad: Any, error: Any, message: str) -> None:
    out = np.full((4, 3, 8, 8), 7, np.float32)
    with pytest.raises(error, match=message):
        Preprocessor((8, 8))([noise(4, 4), noise(5, 5), bad, noise(6, 6)], out=out)
    assert (out == 7).all()


def test_a_image_too_long_to_resize_is_named_by_its_index() -> None:
    long = np.zeros((1, 100_000, 3), np.uint8)
    out = np.full((2, 3, 8, 8), 7, np.float32)
    preprocess = Preprocessor((8, 8), resize=256)
    with pytest.raises(ValueError, match=r"images\[1\]: an image of 1x100000 .* more than"):
        preprocess([noise(4, 4), long], out=out)
    assert (out == 7).all()
    with pytest.raises(ValueError, match=r"an image of 1x100000 .* more than"):
        preprocess.resized(1, 100_000)
    assert preprocess.resized(1, 1000) == (256, 256_000)


def test_only_what_the_crop_keeps_is_computed() -> None:
    """15 million columns wide before the crop: whole, this would take gigabytes."""
    strip = noise(1, 60_000)
    (got,) = Preprocessor((8, 8), resize=250, filter="lanczos")([strip])
    middle = noise(1, 60_000)[:, 29_990:30_010]
    (expected,) = Preprocessor((8, 8), resize=250, filter="lanczos")([middle])
    np.testing.assert_array_equal(got, expected)


MEMORY = """
import numpy as np
from falconet.native import Preprocessor, resize

def peak():
    with open("/proc/self/status") as lines:
        (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1])

strip = np.zeros((1, 60_000, 3), np.uint8)
before = peak()
Preprocessor((8, 8), resize=250, filter="lanczos")([strip])
print(peak() - before)
resize(strip, (1, 1_500_000), filter="lanczos")
print(peak() - before)
"""


def test_what_the_crop_drops_takes_no_memory() -> None:
    """In KiB, and beside it for a tenth of the image's only row."""
    output = subprocess.check_output([sys.executable, "-c", MEMORY], text=True)
    cropped, whole = map(int, output.split())
    assert cropped < 2_000
    assert whole > 20_000


@pytest.mark.parametrize("images", ["cat.png", None, iter([]), noise(2, 2)])
def test_images_come_as_a_list_or_one_array(images: Any) -> None:
    with pytest.raises(TypeError, match="images: expected a list of images or one array"):
        Preprocessor((8, 8))(images)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": (0, 8)}, ValueError, "height: expected 1 to"),
        ({"size": "88"}, TypeError, r"size: expected \(height, width\), got '88'"),
        ({"size": (8, 8), "resize": 0}, ValueError, "shorter side: expected 1 to"),
        ({"size": (8, 8), "resize": 8.5}, TypeError, "resize: expected None, an integer or"),
        (
            {"size": (8, 8), "filter": "nearest"},
            ValueError,
            f"filter: expected one of {', '.join(map(repr, FILTERS))}, got 'nearest'",
        ),
        ({"size": (8, 8), "mean": (0.5,)}, ValueError, "one number per channel in each"),
        ({"size": (8, 8), "mean": 0.5}, TypeError, "mean: expected one number per channel"),
        ({"size": (8, 8), "mean": (0, 0), "std": (1, 1)}, ValueError, "1, 3 or 4 channels"),
        ({"size": (8, 8), "std": (1, 0, 1)}, ValueError, "std: expected finite numbers above"),
        ({"size": (8, 8), "mean": (0, float("nan"), 0)}, ValueError, "mean: expected finite"),
        ({"size": (8, 8), "layout": "HWC"}, ValueError, "'NCHW' or 'NHWC', got 'HWC'"),
        ({"size": (8, 8), "layout": None}, TypeError, "layout: expected a string, got NoneType"),
        ({"size": (8, 8), "filter": b"box"}, TypeError, "filter: expected a string, got bytes"),
        ({"size": (8, 8), "mean": "123"}, TypeError, "mean: expected one number per channel"),
        ({"size": (8, 8), "mean": ("a", 0, 0)}, TypeError, "mean: expected one number per"),
        ({"size": (8, 8), "std": (1e-60, 1, 1)}, ValueError, "std: .* leave the result finite"),
        (
            {"size": (8, 8), "dtype": "float16"},
            ValueError,
            "'bfloat16', got 'float16'",
        ),
        ({"size": (8, 8), "exact_as": "cv2"}, ValueError, "'pillow' or 'torch', got 'cv2'"),
        ({"size": (8, 8), "exact_as": "torch", "filter": "box"}, ValueError, "got 'torch'"),
        ({"size": (8, 8), "implementation": "mmx"}, ValueError, "implementation: expected one"),
        ({"size": (8, 8), "threads": -1}, ValueError, "threads: expected 1 to 1024, got -1"),
        ({"size": (8, 8), "threads": 2**40}, ValueError, "threads: expected 1 to 1024"),
        ({"size": (8, 8), "threads": "4"}, TypeError, "threads: expected an integer, got str"),
    ],
)
def test_clear_errors(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Preprocessor(**arguments)


def test_from_spec_reads_what_a_model_states() -> None:
    spec = {
        "size": [24, 30],
        "resize": 28,
        "crop": "center",
        "filter": "bicubic",
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "classes": ["a"],
    }
    expected = Preprocessor(
        (24, 30), resize=28, filter="bicubic", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)
    )
    image = noise(50, 40)
    np.testing.assert_array_equal(Preprocessor.from_spec(spec)([image]), expected([image]))
    other = Preprocessor.from_spec(
        {**spec, "exact_as": "torch"}, threads=2, layout="NHWC", dtype="bfloat16"
    )
    assert other.exact_as == "torch"
    assert (other.threads, other.layout, other.dtype) == (2, "NHWC", "bfloat16")
    with pytest.raises(ValueError, match=r"crop: expected 'center' .* got 'left'"):
        Preprocessor.from_spec({**spec, "crop": "left"})
    with pytest.raises(ValueError, match="expected the field 'filter'"):
        Preprocessor.from_spec({k: v for k, v in spec.items() if k != "filter"})


RELEASED = """
import numpy as np
from falconet.native import Preprocessor

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4

preprocessor = Preprocessor((8, 8), threads=1)
small, tall = np.zeros((100, 100, 3), np.uint8), np.zeros((8_000_000, 2, 3), np.uint8)
preprocessor([small])
before = held()
preprocessor([tall])
print(held() - before)
"""


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer keeps what is freed"
)
def test_what_a_large_image_took_is_given_back() -> None:
    """In KiB: its coefficients alone are 32 MB, and the pointers to its rows 16."""
    # Or glibc keeps what is freed, as long as it is not more than was freed before.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", RELEASED]
    output = subprocess.check_output(command, env=environment, text=True)
    assert int(output) < 8_000


@pytest.mark.parametrize("implementation", implementations())
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("std", [0.25, 1e-25, 1e35])
@pytest.mark.parametrize("width", [1, 31, 32, 33, 97])
def test_interleaved_bfloat16_is_the_nearest_to_float32(
    implementation: str, channels: int, std: float, width: int
) -> None:
    """Of rows of any length, and of numbers that are too large or too small for most."""
    image = np.arange(3 * width * channels, dtype=np.uint8).reshape(3, width, channels)
    image = image[..., 0] if channels == 1 else image
    for mean in (0.0, 0.4, 1e-10):
        options: dict[str, Any] = {
            "mean": [mean] * channels,
            "std": [std] * channels,
            "layout": "NHWC",
            "implementation": implementation,
        }
        exact = Preprocessor((3, width), **options)([image])
        bits = Preprocessor((3, width), dtype="bfloat16", **options)([image])
        expected = torch.from_numpy(exact).to(torch.bfloat16).view(torch.uint16).numpy()
        np.testing.assert_array_equal(bits, expected)
