"""What a network in 8-bit integers needs between its layers, against NumPy and torch."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from falconet.native import _core

# Around the 16 lanes of a vector, and one after many.
COUNTS = (0, 1, 15, 16, 17, 64, 1000)


def halves(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    rounded = torch.from_numpy(values).bfloat16()
    return rounded.view(torch.uint16).numpy()


def floats(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    return torch.from_numpy(bits).view(torch.bfloat16).float().numpy()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("scale", "zero"), [(0.5, 0), (0.03, 128), (1e-6, 255)])
def test_quantizing_rounds_to_even_and_stays_within_a_byte(
    count: int, scale: float, zero: int
) -> None:
    random = np.random.default_rng(count)
    values = random.normal(scale=scale * 100, size=count).astype(np.float32)
    values[::7] = (random.integers(-300, 300, len(values[::7])) + 0.5) * scale
    for given in (values, halves(values)):
        out = np.full(count, 77, np.uint8)
        _core.quantize(given, scale, zero, out)
        exact = given if given.dtype == np.float32 else floats(given)
        inverse = np.float32(1) / np.float32(scale)
        expected = np.clip(np.rint(exact * inverse) + zero, 0, 255).astype(np.uint8)
        np.testing.assert_array_equal(out, expected)


def test_what_is_no_number_becomes_a_byte_too() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30] * 4, np.float32)
    out = np.empty(20, np.uint8)
    _core.quantize(values, 1.0, 10, out)
    assert out.tolist() == [0, 255, 0, 255, 0] * 4


@pytest.mark.parametrize("count", COUNTS)
def test_dequantizing_is_exact(count: int) -> None:
    given = np.random.default_rng(count).integers(0, 256, count, np.uint8)
    expected = (given.astype(np.float32) - 100) * np.float32(0.37)
    out = np.empty(count, np.float32)
    _core.dequantize(given, 0.37, 100, out)
    np.testing.assert_array_equal(out, expected)
    bits = np.empty(count, np.uint16)
    _core.dequantize(given, 0.37, 100, bits)
    np.testing.assert_array_equal(bits, halves(expected))


@pytest.mark.parametrize("channels", [1, 24, 64, 100])
@pytest.mark.parametrize(
    ("window", "stride", "padding"), [((2, 2), (2, 2), (0, 0)), ((3, 2), (2, 1), (1, 0))]
)
def test_max_pool_is_torchs(
    channels: int, window: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    given = np.random.default_rng(0).integers(0, 256, (2, 9, 7, channels), np.uint8)
    seen = torch.from_numpy(given).permute(0, 3, 1, 2).float()
    expected = torch.max_pool2d(seen, window, stride, padding).permute(0, 2, 3, 1).byte()
    out = np.empty(expected.shape, np.uint8)
    _core.max_pool(given, window, stride, padding, out)
    np.testing.assert_array_equal(out, expected.numpy())


@pytest.mark.parametrize(
    ("shape", "window", "stride", "padding", "message"),
    [
        ((1, 3, 4, 8), (2, 2), (2, 2), (0, 0), "reach the input"),
        ((1, 2, 2, 8), (2, 2), (2, 2), (2, 0), "reach the input"),
        ((1, 2, 2, 8), (2, 2), (0, 2), (0, 0), "reach the input"),
        ((1, 2, 2, 8), (0, 2), (2, 2), (0, 0), "reach the input"),
        ((1, 2, 2, 7), (2, 2), (2, 2), (0, 0), "as many channels"),
        ((2, 2, 2, 8), (2, 2), (2, 2), (0, 0), "as many channels"),
    ],
)
def test_pools_outside_are_refused(
    shape: tuple[int, ...], window: Any, stride: Any, padding: Any, message: str
) -> None:
    given = np.zeros((1, 4, 4, 8), np.uint8)
    with pytest.raises(ValueError, match=message):
        _core.max_pool(given, window, stride, padding, np.empty(shape, np.uint8))


def test_arrays_that_do_not_fit_are_refused() -> None:
    values, out = np.zeros(8, np.float32), np.zeros(7, np.uint8)
    with pytest.raises(ValueError, match="same size"):
        _core.quantize(values, 1.0, 0, out)
    with pytest.raises(ValueError, match="scale"):
        _core.quantize(values[:7], 0.0, 0, out)
    with pytest.raises(ValueError, match="zero"):
        _core.dequantize(out, 1.0, 256, values[:7])
    with pytest.raises(TypeError):  # would be converted, and a copy be filled
        _core.quantize(values[:7].astype(np.float64), 1.0, 0, out)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _core.quantize(values[:7], 1.0, 0, np.zeros(14, np.uint8)[::2])
