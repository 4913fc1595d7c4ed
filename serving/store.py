"""A server's own copies of archives."""

import contextlib
import hashlib
import json
import shutil
import zipfile
from pathlib import Path

from .client import model_name
from .errors import ServerError
from .record import FILE_NAME as RECORD
from .record import Record, Release

FOLDER = "store"
MANIFEST = "MAR-INF/MANIFEST.json"


def identify(archive: Path) -> Release:
    """What an archive is called in a store: never the same for two that differ.

    Raises:
        ServerError: it is not an archive.
    """
    try:
        with zipfile.ZipFile(archive) as mar:
            manifest = json.loads(mar.read(MANIFEST))["model"]
        model, version = manifest["modelName"], manifest["modelVersion"]
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise ServerError(
            f"{archive} is not an archive ({error}); make one with: falconet archive"
        ) from None
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Release(version, f"{model}-{version}-{sha256[:12]}.mar")


def put(archive: Path, release: Release, store: Path) -> None:
    """Copy an archive into a store under its release's name, complete or not at all.

    Raises:
        ServerError: it could not be copied.
    """
    target = store / release.file
    partial = target.with_suffix(".partial")
    try:
        store.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(archive, partial)
        partial.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise ServerError(f"{archive} could not be copied to {target}: {error}") from error


def prune(folder: Path) -> None:
    """Remove what no model of the server with this state folder needs."""
    needed = {file for record in Record.load(folder).values() for file in record.files()}
    for path in (folder / FOLDER).glob("*-*-*.*"):
        if path.name not in needed:
            path.unlink(missing_ok=True)


def files_to_serve(folder: Path, archive: Path) -> dict[str, str]:
    """Which file of the store each model is started from, by the model's name.

    Those are what was deployed on the server with this state folder, if it began with this archive;
    otherwise it begins with the archive, and its record anew.

    Raises:
        ServerError: the archive is none, or what was deployed is not in the store.
    """
    model = model_name(archive)
    given = identify(archive)
    put(archive, given, folder / FOLDER)
    records = Record.load(folder)
    if model not in records or records[model].given != given.file:
        # Not begun with this archive: what was deployed after another is of no interest.
        (folder / RECORD).unlink(missing_ok=True)
        records = {model: Record(given.file, serving=given)}
        records[model].save(folder, model)
    for name, record in records.items():
        if not (folder / FOLDER / record.serving.file).is_file():
            raise ServerError(
                f"{name} was deployed as {record.serving.file}, which is not in {folder / FOLDER}; "
                f"remove {folder / RECORD} to begin with {archive}"
            )
    prune(folder)
    return {name: record.serving.file for name, record in records.items()}
