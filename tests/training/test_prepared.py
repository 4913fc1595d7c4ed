"""Images brought to one size: as when served, in threads, in little memory."""

import errno
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from falconet.model.spec import Spec
from falconet.native.data import Data, Pixels
from falconet.native.decode import Decoder
from falconet.training import data, prepared
from falconet.training.data import Dataset
from falconet.training.prepared import Normalize, prepare, uncropped

COUNT = 24
SPEC = Spec((24, 24), ("a", "b"), resize=32, filter="bicubic", mean=(0.4, 0.5, 0.6))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """JPEGs of several sizes."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    paths = []
    for i in range(COUNT):
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8))
        paths.append(folder / f"{i}.jpg")
        coarse.resize((120 + 5 * i, 200 - 3 * i)).save(paths[-1])
    return Dataset(paths, np.arange(COUNT) % 2, ("a", "b"))


def test_images_are_those_of_torchvision(photographs: Dataset) -> None:
    chosen = np.array([5, 0, 17])
    found = prepare(photographs, chosen, SPEC)
    bicubic = v2.InterpolationMode.BICUBIC
    transform = v2.Compose([v2.Resize(32, bicubic), v2.CenterCrop(24), v2.PILToTensor()])
    opened = [Image.open(photographs.images[i]) for i in chosen]
    assert torch.equal(found.pixels, torch.stack([transform(image) for image in opened]))
    assert found.sizes.tolist() == [[image.height, image.width] for image in opened]
    torch.testing.assert_close(found.ratios[1], torch.tensor(120 / 200))
    assert np.array_equal(found.images[2], found.pixels[2].permute(1, 2, 0).numpy())


def test_normalized_values_are_those_of_serving(photographs: Dataset) -> None:
    """To the last bit: both come from the spec's preprocessor."""
    found = prepare(photographs, np.arange(COUNT), SPEC)
    decoder = SPEC.decoder()
    served = SPEC.preprocessor()([data.decode(image, decoder) for image in photographs.images])
    assert np.array_equal(Normalize(SPEC)(found.pixels).numpy(), served)


def test_as_many_large_images_are_held_as_there_are_cores(
    photographs: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, lock = Decoder.decode, threading.Lock()
    alive, most = 0, 0

    def dropped() -> None:
        nonlocal alive
        with lock:
            alive -= 1

    def counted(self: Decoder, content: Data) -> Pixels:
        nonlocal alive, most
        pixels = decode(self, content)
        with lock:
            alive += 1
            most = max(most, alive)
        weakref.finalize(pixels, dropped)
        time.sleep(0.005)  # so that others have begun
        return pixels

    monkeypatch.setattr(Decoder, "decode", counted)
    monkeypatch.setattr(prepared, "available_cores", lambda: 3)
    found = prepare(photographs, np.arange(COUNT), SPEC)
    assert found.pixels.shape == (COUNT, 3, 24, 24)
    assert 1 < most <= 3
    assert alive == 0


def test_more_than_the_cache_is_mapped_from_a_file_without_a_name(
    photographs: Dataset, tmp_path: Path
) -> None:
    bytes_needed = COUNT * 3 * 24 * 24
    every = np.arange(COUNT)
    in_memory = prepare(photographs, every, SPEC, bytes_needed, tmp_path / "run")
    assert not in_memory.on_disk
    mapped = prepare(photographs, every, SPEC, bytes_needed - 1, tmp_path / "run")
    assert mapped.on_disk
    assert torch.equal(mapped.pixels, in_memory.pixels)
    assert f"{tmp_path}/run" in Path("/proc/self/maps").read_text()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_full_disk_is_found_before_any_work(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    monkeypatch.setattr(Decoder, "decode", None)
    with pytest.raises(OSError, match=r"room for 3,456 bytes.*No space left.*raise --cache"):
        prepare(photographs, np.arange(2), SPEC, 0, tmp_path)


def test_a_damaged_image_ends_the_work(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(Path(photographs.images[0]).read_bytes()[:300])
    begun: list[object] = []
    decode = data.decode

    def noted(image: data.Image, decoder: Decoder) -> Pixels:
        begun.append(image)
        return decode(image, decoder)

    monkeypatch.setattr(prepared, "decode", noted)
    images = [broken, *photographs.images] * 20
    with pytest.raises(ValueError, match=r"broken\.jpg: "):
        prepare(replace(photographs, images=images), np.arange(len(images)), SPEC)
    assert len(begun) < len(images)


def test_an_image_that_cannot_be_resized_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (40000, 1)).save(tmp_path / "line.png")
    dataset = Dataset([tmp_path / "line.png"], np.zeros(1, np.int64), ("a",))
    with pytest.raises(ValueError, match=r"line\.png: "):
        prepare(dataset, np.arange(1), replace(SPEC, resize=600))


def test_random_crops_are_cut_out_of_whole_images() -> None:
    assert uncropped(SPEC).size == (32, 32)
    assert uncropped(replace(SPEC, size=(24, 48))).size == (32, 64)
    assert uncropped(replace(SPEC, resize=(30, 40))).size == (30, 40)
    assert uncropped(replace(SPEC, resize=None)).size == (24, 24)
    assert uncropped(SPEC).resize is None
    assert uncropped(SPEC).filter == SPEC.filter
    with pytest.raises(ValueError, match="expected random_crop=0 where whole images are fitted"):
        uncropped(replace(SPEC, fit="longer"))
