"""Taking over an archive of TorchServe's own ``image_classifier``."""

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from falconet.native.decode import Orientation
from falconet.native.formats import DEFAULT

from .archive import MANIFEST, MODEL, Serving
from .archive_process import Answer, ArchiveProcess, ArchiveProcessError
from .samples import rotated_exif
from .spec import Spec

# In TorchServe's model-config.yaml, and what they are in ours.
OPTIONS = {
    "minWorkers": "workers",
    "maxWorkers": "workers",
    "batchSize": "batch_size",
    "maxBatchDelay": "max_batch_delay",
    "responseTimeout": "response_timeout",
    "startupTimeout": "startup_timeout",
}


class MigrationError(ValueError):
    """The archive cannot be taken over."""


@dataclass(frozen=True)
class Old:
    """An archive of TorchServe's, unpacked.

    Attributes:
        folder: where.
        version: of the model.
        handler: its name.
        serving: what its ``model-config.yaml`` says, in our words; it computes in float32.
        ignored: what that says besides.
    """

    folder: Path
    version: str
    handler: str
    serving: Serving
    ignored: tuple[str, ...]


def unpack(archive: Path, folder: Path) -> Old:
    """Unpack an archive into a folder that is empty.

    Raises:
        MigrationError: it is none, or has no PyTorch model.
    """
    try:
        with zipfile.ZipFile(archive) as mar:
            mar.extractall(folder)  # which lets no name out of the folder
        model = json.loads((folder / MANIFEST).read_text())["model"]
        file, handler = str(model["serializedFile"]), str(model["handler"])
        config: dict[str, Any] = {}
        if "configFile" in model:
            config = dict(yaml.safe_load((folder / model["configFile"]).read_text()) or {})
        known = _known(config)
    except (
        *(zipfile.BadZipFile, zlib.error, yaml.YAMLError),
        *(OSError, AttributeError, KeyError, TypeError, ValueError),
    ) as error:
        raise MigrationError(
            f"{archive}: expected an archive of torch-model-archiver: {error}"
        ) from error
    if not file.endswith((".pt", ".pth", ".bin")):
        raise MigrationError(f"{archive}: expected a PyTorch model, a .pt file, got {file}")
    return Old(
        folder,
        str(model.get("modelVersion", "1.0")),
        handler,
        Serving(precision="float32", **known),
        tuple(str(name) for name in config if name not in OPTIONS),
    )


def _known(config: dict[str, Any]) -> dict[str, Any]:
    """What a ``model-config.yaml`` says, in our words."""
    found: dict[str, int] = {}
    for name, ours in OPTIONS.items():
        if name in config:
            found[ours] = int(config[name])
    # TorchServe takes 0 for its own defaults.
    return {name: value for name, value in found.items() if value > 0}


def take_over(
    old: Old,
    process: ArchiveProcess,
    folder: Path,
    images: Sequence[bytes],
    size: tuple[int, int] | None = None,
    allow: Sequence[str] = (),
) -> Spec:
    """Write ``model.pt`` and ``spec.json`` that do as the old handler does.

    Args:
        old: the archive.
        process: that runs it.
        folder: to write into.
        images: files, of which the handler answers at least one.
        size: ``(height, width)`` of the network's input, for a handler that does not resize.
        allow: formats that are decoded besides the usual ones.

    Raises:
        MigrationError: the handler's answer has a form that is not known, or it answers nothing.
        ArchiveProcessError: the handler is no image classifier, or cannot be stated as a spec.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = process.describe(size, folder / MODEL)
    except ArchiveProcessError as error:
        raise ArchiveProcessError(f"{old.handler}: {error}") from None
    names = found["labels"] or {}
    labels = [names.get(str(i), str(i)) for i in range(found["outputs"])]
    answers: list[Answer] = []
    for image in images:
        answers += process.ask([image])
        if answers[-1].status == 200:
            break
    spec = Spec.of(
        {
            **found["arguments"],
            "classes": labels,
            "answer": _form(answers),
            "orientation": _orientation(process, found["arguments"]),
            "formats": [*DEFAULT, *allow],
            "top_k": found["top_k"],
        }
    )
    spec.save(folder)
    return spec


def _form(answers: Sequence[Answer]) -> str:
    content = answers[-1].content
    if answers[-1].status != 200:
        raise MigrationError(f"the old handler answers none of {len(answers)} images: {content}")
    if isinstance(content, dict) and all(isinstance(each, float) for each in content.values()):
        return "torchserve"
    if isinstance(content, int):
        return "class_number"
    raise MigrationError(
        "expected the old handler to answer probabilities by label, or a class's number, got "
        f"{json.dumps(content)[:200]}"
    )


def _orientation(process: ArchiveProcess, arguments: dict[str, Any]) -> Orientation:
    """Whether the old handler turns images as their Exif says."""
    height, width = arguments["size"]
    mode = "L" if len(arguments["mean"]) == 1 else "RGB"
    upright = Image.linear_gradient("L").resize((width, height)).convert(mode)
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    answers = []
    for image, said in ((upright, Image.Exif()), (turned, rotated_exif()), (turned, Image.Exif())):
        file = io.BytesIO()
        image.save(file, "PNG", exif=said)
        answers += process.ask([file.getvalue()])
    first, by_exif, as_stored = (each.content for each in answers)
    turns = first == by_exif != as_stored
    return "exif" if turns and answers[0].status == 200 else "ignore"
