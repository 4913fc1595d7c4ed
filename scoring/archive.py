"""What an archive is, without opening its model."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import yaml

PIECE = 1 << 20  # bytes


def digest(archive: Path) -> str:
    """The SHA-256 of an archive."""
    found = hashlib.sha256()
    with archive.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def read_spec(archive: Path) -> dict[str, Any]:
    """The ``spec.json`` of an archive."""
    with zipfile.ZipFile(archive) as file:
        spec: dict[str, Any] = json.loads(file.read("spec.json"))
    return spec


def archive_options(archive: Path) -> dict[str, Any]:
    """What the archive's ``model-config.yaml`` says to our handler.

    Raises:
        ValueError: it is not an archive of ``falconet archive``.
    """
    if not zipfile.is_zipfile(archive):
        raise ValueError(f"{archive} is not an archive; make one with: falconet archive")
    with zipfile.ZipFile(archive) as file:
        config = yaml.safe_load(file.read("model-config.yaml")) or {}
    options: dict[str, Any] = config.get("falconet", {})
    return options
