"""What a network is computed in."""

from typing import Literal

Precision = Literal["auto", "int8", "bfloat16", "float32"]
