from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

def resize(
    image: npt.NDArray[np.uint8], size: Sequence[int], filter: str
) -> npt.NDArray[np.uint8]: ...

class Preprocessor:
    def __init__(
        self,
        size: Sequence[int],
        resize: int | None,
        filter: str,
        mean: Sequence[float],
        std: Sequence[float],
        layout: str,
        threads: int,
    ) -> None: ...
    def __call__(
        self,
        images: Sequence[npt.NDArray[np.uint8]],
        out: npt.NDArray[np.float32] | None,
    ) -> npt.NDArray[np.float32]: ...
    def resized(self, height: int, width: int) -> tuple[int, int]: ...
