"""What a model is, in the words of the Open Inference Protocol.

https://github.com/kserve/open-inference-protocol
"""

import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from falconet.model.spec import FILE_NAME as SPEC
from falconet.model.spec import Spec

from .record import Record, Release


def metadata(store: Path, records: Mapping[str, Record]) -> dict[str, dict[str, Any]]:
    """Of each model, by its name, and of each of its versions, as ``MODEL/VERSION``.

    Args:
        store: with the archives.
        records: of the models.

    Raises:
        OSError, ValueError, KeyError: an archive cannot be read.
    """
    found = {}
    for model, record in records.items():
        for release in (record.coming, record.leaving, record.serving):
            if release is not None:
                found[model] = found[f"{model}/{release.version}"] = _about(model, release, store)
    return found


def index(default: str, described: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The list of models, each with its versions, the current one first.

    Args:
        default: the model of requests that name none.
        described: as :func:`metadata` returns it.
    """
    versions = {
        name: dict.fromkeys(about["versions"])
        for name, about in described.items()
        if "/" not in name
    }
    for name in described:
        model, slash, version = name.partition("/")
        if slash:
            versions[model][version] = None
    models = [{"name": name, "versions": list(found)} for name, found in versions.items()]
    return {"default": default, "models": models}


def _about(model: str, release: Release, store: Path) -> dict[str, Any]:
    answers = _answers(store / release.file)
    return {
        "name": model,
        "versions": [release.version],
        "platform": "pytorch_torchscript",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1, answers]},
            {"name": "probability", "datatype": "FP32", "shape": [-1, answers]},
        ],
    }


@lru_cache
def _answers(archive: Path) -> int:
    """How many labels there are for an image; an archive's name holds its checksum."""
    with zipfile.ZipFile(archive) as mar:
        spec = Spec.from_json(mar.read(SPEC).decode())
    return min(spec.top_k, len(spec.classes))
