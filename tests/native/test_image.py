"""Images of other libraries, and a Preprocessor among those who share it out."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from falconet.native import Preprocessor, implementations, pillow, resize

PREPROCESS = Preprocessor((9, 8), resize=12)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


IMAGE = noise(20, 30)


class Interface:
    """What other array libraries have."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__


class DLPack:
    """And newer ones."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Elsewhere(DLPack):
    def __dlpack_device__(self) -> Any:
        return 2, 0  # a GPU

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("not on this device")


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(IMAGE),
        torch.from_numpy(IMAGE),
        torch.from_numpy(IMAGE).permute(2, 0, 1),
        torch.from_numpy(IMAGE).permute(2, 0, 1).contiguous(),
        tv_tensors.Image(torch.from_numpy(IMAGE).permute(2, 0, 1)),
        torch.from_numpy(IMAGE[::-1].copy()).permute(2, 0, 1).flip(1),
        Interface(IMAGE),
        DLPack(IMAGE),
        DLPack(torch.from_numpy(IMAGE)),
    ],
)
def test_an_image_of_another_library(image: Any) -> None:
    np.testing.assert_array_equal(PREPROCESS([image]), PREPROCESS([IMAGE]))
    np.testing.assert_array_equal(resize(image, (7, 40)), resize(IMAGE, (7, 40)))


def test_a_tensor_has_its_channels_first_where_both_can_be() -> None:
    tensor = torch.from_numpy(noise(3, 30, 3))
    np.testing.assert_array_equal(
        PREPROCESS([tensor]), PREPROCESS([tensor.numpy().transpose(1, 2, 0)])
    )
    four = torch.from_numpy(noise(4, 30, 3))
    np.testing.assert_array_equal(PREPROCESS([four]), PREPROCESS([four.numpy()]))
    assert resize(four, (5, 6)).shape == (5, 6, 4)  # which takes 1, 3 or 4


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("L", 1), ("RGB", 3), ("YCbCr", 3), ("HSV", 3), ("RGBA", 4), ("CMYK", 4), ("RGBX", 4)],
)
def test_a_pil_image_of_each_mode(mode: str, channels: int) -> None:
    image = Image.fromarray(IMAGE).convert(mode)
    preprocess = Preprocessor((9, 8), mean=(0.5,) * channels, std=(0.5,) * channels)
    np.testing.assert_array_equal(preprocess([image]), preprocess([np.asarray(image)]))
    np.testing.assert_array_equal(resize(image, (7, 8)), resize(np.asarray(image), (7, 8)))


def opened(path: Any, image: Image.Image) -> Image.Image:
    image.save(path)
    return Image.open(path)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: opened(folder / "mapped.pgm", Image.fromarray(IMAGE).convert("L")),
        lambda folder: opened(folder / "lazy.png", Image.fromarray(IMAGE)),
        lambda folder: Image.frombuffer("L", (30, 20), IMAGE[..., 0].tobytes(), "raw", "L", 0, -1),
        lambda folder: Image.fromarray(noise(2100, 2100)),  # in pieces, of 16 MiB at most
        lambda folder: Image.fromarray(noise(4200, 4200)[..., 0]),
        lambda folder: Image.fromarray(IMAGE).crop((-5, 3, 20, 30)),
        lambda folder: Image.fromarray(noise(1, 1)),
    ],
)
def test_a_pil_image_wherever_its_pixels_are(make: Any, tmp_path: Any) -> None:
    image = make(tmp_path)
    array = pillow.array_of(image, 0, "image")
    np.testing.assert_array_equal(array, np.asarray(image))
    np.testing.assert_array_equal(resize(image, (9, 8)), resize(np.asarray(image), (9, 8)))


def test_pixels_of_a_pil_image_are_shared() -> None:
    image = Image.fromarray(IMAGE.copy())
    image.putpixel((0, 0), (1, 2, 3))  # or they are the array's
    array = pillow.array_of(image, 3, "image")
    image.putpixel((0, 0), (7, 8, 9))
    assert array[0, 0].tolist() == [7, 8, 9]
    expected = array.copy()
    del image
    assert Image.new("RGB", (30, 20), "white").getpixel((0, 0)) == (255, 255, 255)
    np.testing.assert_array_equal(array, expected)


def test_a_pil_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images\[0\]: .* got shape \(0, 5, 3\)"):
        PREPROCESS([Image.new("RGB", (5, 0))])


@pytest.mark.parametrize("mode", ["P", "1", "LA", "LAB", "I;16", "F", "RGBA", "L"])
def test_a_pil_image_of_another_mode_is_refused(mode: str) -> None:
    image = Image.new(mode, (4, 4))
    with pytest.raises(
        ValueError,
        match=rf'images\[1\]: expected .* mode RGB, got mode {mode}; image.convert\("RGB"\)',
    ):
        PREPROCESS([IMAGE, image])
    if mode in ("P", "1"):
        with pytest.raises(ValueError, match=rf"image: expected .* got mode {mode}; image.convert"):
            resize(image, (4, 4))


@pytest.mark.parametrize(
    "make",
    [
        lambda batch: batch,
        lambda batch: Interface(batch),
        lambda batch: DLPack(batch),
        torch.from_numpy,
        lambda batch: torch.from_numpy(batch).permute(0, 3, 1, 2),
        lambda batch: torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous(),
        tuple,
    ],
)
def test_a_batch_is_one_array_or_many(make: Any) -> None:
    images = [noise(20, 30, seed=seed) for seed in range(3)]
    np.testing.assert_array_equal(PREPROCESS(make(np.stack(images))), PREPROCESS(images))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGE, r"one of shape \(20, 30, 3\); write \[image\]"),
        (torch.from_numpy(IMAGE), r"one of shape \(20, 30, 3\); write \[image\]"),
        (Image.fromarray(IMAGE), r"one PIL image; write \[image\]"),
        ("cat.png", r"\(N, height, width, 3\), got str"),
        (np.zeros(3, np.uint8), r"one of shape \(3,\)$"),
    ],
)
def test_one_image_is_no_batch(images: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"images: expected a list of images or one .*{message}"):
        PREPROCESS(images)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("cat.png", TypeError, "a PIL image or a tensor, got str"),
        (None, TypeError, "a PIL image or a tensor, got NoneType"),
        (torch.zeros(3, 4, 4), TypeError, "expected a tensor of torch.uint8, got torch.float32"),
        (
            torch.zeros(3, 4, 4, dtype=torch.uint8, device="meta"),
            TypeError,
            r"expected a tensor in the CPU's memory, got one on meta; .cpu\(\)",
        ),
        (Elsewhere(IMAGE), TypeError, "memory of the CPU, got a Elsewhere .* not on this device"),
        (torch.zeros(4, 5, 6, dtype=torch.uint8), ValueError, r"got shape \(5, 6, 4\)"),
        (IMAGE.transpose(2, 0, 1), ValueError, r"\(3, 20, 30\); give .transpose\(1, 2, 0\)"),
        (Interface(IMAGE.astype(np.int8)), TypeError, "got dtype int8"),
    ],
)
def test_what_is_no_image_is_named(image: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=rf"images\[1\]: .*{message}"):
        PREPROCESS([IMAGE, image])


def test_out_is_what_comes_back() -> None:
    out = torch.empty(1, 3, 9, 8)
    assert PREPROCESS([IMAGE], out=out) is out
    np.testing.assert_array_equal(out, PREPROCESS([IMAGE]))


MANY = Preprocessor(
    (9, 8),
    resize=12,
    fit="longer",
    crop="center_floor",
    fill=(1, 2, 3),
    filter="bicubic",
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    layout="NHWC",
    threads=3,
    dtype="bfloat16",
    exact_as="torch",
    implementation="scalar",
)


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_it_can_be_copied(again: Any) -> None:
    for original in (MANY, PREPROCESS):
        copied = again(original)
        assert copied == original
        assert hash(copied) == hash(original)
        assert copied is not original
        assert repr(copied) == repr(original)
        np.testing.assert_array_equal(copied([IMAGE]), original([IMAGE]))


def test_what_was_left_open_is_decided_where_it_is_unpickled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_, chosen = pickle.dumps(PREPROCESS), pickle.dumps(MANY)
    monkeypatch.setenv("FALCONET_IMPLEMENTATION", "scalar")
    monkeypatch.setattr("falconet.native.preprocessor.available_cores", lambda: 5)
    there = pickle.loads(open_)
    assert (there.implementation, there.threads) == ("scalar", 5)
    monkeypatch.setenv("FALCONET_IMPLEMENTATION", implementations()[0])
    assert (pickle.loads(chosen).implementation, pickle.loads(chosen).threads) == ("scalar", 3)


@pytest.mark.parametrize("name", ["size", "mean", "threads", "else_"])
def test_it_cannot_be_changed(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(PREPROCESS, name, 5)


def test_options_have_names() -> None:
    with pytest.raises(TypeError, match="positional"):
        Preprocessor((8, 8), 9)  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        resize(IMAGE, (8, 8), "box")  # type: ignore[misc]


class Images(Dataset[torch.Tensor]):
    """As its users write it."""

    def __init__(self) -> None:
        self.preprocess = Preprocessor((9, 8), resize=12, threads=1)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        image = Image.fromarray(noise(20, 30, seed=index))
        return torch.from_numpy(self.preprocess([image])[0])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_it_works_in_the_workers_of_a_data_loader(start: str) -> None:
    data = Images()
    expected = torch.stack([data[i] for i in range(4)])
    loader = DataLoader(
        data,
        batch_size=4,
        num_workers=1,
        multiprocessing_context=multiprocessing.get_context(start),
    )
    (batch,) = loader
    assert torch.equal(batch, expected)


def test_no_other_library_is_imported() -> None:
    program = (
        "import sys, numpy as np\n"
        "from falconet.native import Preprocessor\n"
        "Preprocessor((4, 4))([np.zeros((5, 5, 3), np.uint8)])\n"
        "print({m.split('.')[0] for m in sys.modules} "
        "& {'PIL', 'timm', 'torch', 'torchvision', 'transformers'})"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "set()\n"
