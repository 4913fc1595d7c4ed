"""What is passed from stage to stage: a file's bytes, and pixels."""

import numpy as np
import numpy.typing as npt

Data = bytes | bytearray | memoryview
Pixels = npt.NDArray[np.uint8]  # (height, width, 3), RGB
