"""Files, written whole or not at all, and read without executing anything in them."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch


def write(path: Path, content: bytes | memoryview) -> None:
    """Replace a file; a crash leaves either the old or the new one, whole.

    Raises:
        OSError: it could not be written; the old one is as it was.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f"could not be written ({error.strerror}); what was there before is unharmed",
            str(path),
        ) from error


def save(content: dict[str, Any], path: Path) -> None:
    """Replace a file by tensors and plain values; errors as in :func:`write`."""
    packed = io.BytesIO()
    torch.save(content, packed)
    write(path, packed.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """What :func:`save` wrote, its tensors on the CPU.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is something else, or damaged.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: damaged, or not a file of ours") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected a dictionary of tensors, got a {type(content).__name__}"
        )
    return content
