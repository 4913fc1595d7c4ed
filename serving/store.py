"""A server's own copies of archives."""

import contextlib
import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from falconet.model.archive import MANIFEST
from falconet.model.spec import FILE_NAME as SPEC

from .errors import ServerError
from .record import FILE_NAME as RECORD
from .record import Content, Record, Release, read

FOLDER = "store"
# Of a model; part of paths and of URLs.
NAME = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]*")


def identify(archive: Path) -> Release:
    """What an archive is called in a store: never the same for two that differ.

    Raises:
        ServerError: it is not an archive.
    """
    model, version, _ = _stated(archive)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Release(version, f"{model}-{version}-{sha256[:12]}.mar")


def check_name(archive: Path, model: str) -> None:
    """Make sure that the name of an archive's model can be part of a path and of a URL.

    Raises:
        ServerError: it cannot.
    """
    if not NAME.fullmatch(model):
        raise ServerError(
            f"{archive}: expected a model's name of letters, digits, dots, dashes and "
            f"underscores, got {model!r}"
        )


def by_model_name(archives: Sequence[Path]) -> dict[str, Path]:
    """The archives that a server is given, by the names of their models.

    Raises:
        ServerError: there is none at a path, it is not an archive, its model has an invalid name or
            not that of the file, or two have the same.
    """
    found: dict[str, Path] = {}
    for archive in archives:
        if not archive.is_file():
            raise ServerError(f"no archive at {archive}; make one with: falconet archive")
        model, _, _ = _stated(archive)
        check_name(archive, model)
        if model != archive.stem:
            raise ServerError(
                f"{archive} holds the model {model}: rename the file to {model}.mar, or pack it "
                f"with: falconet archive --output {archive}"
            )
        if model in found:
            raise ServerError(
                f"expected one archive of each model, got two of {model}; a model's name is the "
                "file name that falconet archive wrote: --output MODEL.mar"
            )
        found[model] = archive
    return found


def check_ours(archives: Sequence[Path]) -> None:
    """Make sure that `falconet archive` made what a server is to be given.

    TorchServe serves others too, but they do not answer as readiness checks and deploys expect.

    Raises:
        ServerError: it did not; or as :func:`by_model_name`.
    """
    for archive in by_model_name(archives).values():
        _, _, names = _stated(archive)
        if SPEC not in names:
            raise ServerError(
                f"{archive} was not made by falconet archive; convert an archive of TorchServe's "
                f"image_classifier with: falconet migrate {archive} --output NEW.mar"
            )


def _stated(archive: Path) -> tuple[str, str, list[str]]:
    """The name and version of an archive's model, as its manifest has them, and all its files."""
    try:
        with zipfile.ZipFile(archive) as mar:
            manifest = json.loads(mar.read(MANIFEST))["model"]
            return str(manifest["modelName"]), manifest["modelVersion"], mar.namelist()
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise ServerError(
            f"{archive} is not an archive ({error}); make one with: falconet archive"
        ) from None


def copy_archive(archive: Path, release: Release, store: Path) -> None:
    """Copy an archive into a store under its release's name, complete or not at all.

    One that is there already is not copied again.

    Raises:
        ServerError: it could not be copied.
    """
    target = store / release.file
    with contextlib.suppress(ServerError):  # damaged
        if target.is_file() and identify(target) == release:
            return
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


def archives_to_serve(folder: Path, archives: Sequence[Path]) -> Content:
    """What the server with this state folder is to be started with; nothing is written down yet.

    That is what its record says, if it began with these archives, in any order; otherwise it begins
    with them, and its record anew. The store has all files.

    Raises:
        ServerError: as :func:`by_model_name`, or what was deployed is not in the store.
    """
    given: dict[str, Release] = {}
    for model, archive in by_model_name(archives).items():
        given[model] = identify(archive)
        copy_archive(archive, given[model], folder / FOLDER)
    files = [release.file for release in given.values()]
    found = read(folder)
    if sorted(found.given) != sorted(files):
        # Not begun with these archives: what was deployed after others is of no interest.
        return Content(files, {name: Record(serving=each) for name, each in given.items()})
    # What was being added, taken away or tried is not there.
    records = {
        name: record.without_coming() for name, record in found.models.items() if record.admitted
    }
    for name, record in records.items():
        if not (folder / FOLDER / record.serving.file).is_file():
            raise ServerError(
                f"{name} was deployed as {record.serving.file}, which is not in {folder / FOLDER}; "
                f"remove {folder / RECORD} to start with {', '.join(map(str, archives))}"
            )
    return Content(found.given, records)
