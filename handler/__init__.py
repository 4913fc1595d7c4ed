"""Serving pictures in a TorchServe worker."""

from pathlib import Path

# The file an archive carries: all that TorchServe imports by itself.
ENTRY = Path(__file__).with_name("torchserve_entry.py")
