from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .image import Image

def implementations() -> tuple[str, ...]: ...
def resize(
    image: Image,
    size: Sequence[int],
    filter: str,
    exact_as: str,
    implementation: str | None,
) -> npt.NDArray[np.uint8]: ...

# C-contiguous arrays; bfloat16 as its bits.
def quantize(
    array: npt.NDArray[np.float32] | npt.NDArray[np.uint16],
    scale: float,
    zero: int,
    out: npt.NDArray[np.uint8],
) -> None: ...
def dequantize(
    array: npt.NDArray[np.uint8],
    scale: float,
    zero: int,
    out: npt.NDArray[np.float32] | npt.NDArray[np.uint16],
) -> None: ...

# NHWC.
def max_pool(
    array: npt.NDArray[np.uint8],
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    out: npt.NDArray[np.uint8],
) -> None: ...

class Preprocessor:
    # A batch that reads and writes fewer than min_parallel_bytes is done by the calling thread.
    def __init__(
        self,
        size: Sequence[int],
        resize: int | Sequence[int] | None,
        fit: str,
        crop: str,
        fill: int | Sequence[int],
        filter: str,
        exact_as: str,
        mean: Sequence[float],
        std: Sequence[float],
        layout: str,
        dtype: str,
        threads: int,
        implementation: str | None,
        min_parallel_bytes: int = 1 << 20,
    ) -> None: ...
    def __call__(
        self, images: Sequence[Image], out: npt.NDArray[Any] | None
    ) -> npt.NDArray[Any]: ...
    def resized(self, height: int, width: int) -> tuple[int, int]: ...
    @property
    def fill(self) -> tuple[int, ...]: ...
    @property
    def implementation(self) -> str: ...
