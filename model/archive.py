"""Packing an exported model into the .mar file that TorchServe loads."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from . import samples, spec

MODEL = "model.pt"
CONFIG = "model-config.yaml"
# Of every other file in the archive, by name.
CHECKSUMS = "checksums.json"
MANIFEST = "MAR-INF/MANIFEST.json"
# How the model compares with its original, if it comes from elsewhere.
PROOF = "proof.json"
# How it computes in 8-bit integers, if that is known; see falconet.handler.quantization.
INT8 = "int8.json"


class ArchiveError(RuntimeError):
    """The archive could not be made; the message is the archiver's own."""


@dataclass(frozen=True)
class Serving:
    """How TorchServe runs the model; becomes ``model-config.yaml`` in the archive.

    Attributes:
        workers: processes, each with a copy of the model; 0 leaves it to the server, whose
            profile knows its machine.
        batch_size: the most requests answered by one forward pass.
        max_batch_delay: how long a batch waits to fill, in milliseconds. TorchServe takes 0 for
            its default of 100.
        response_timeout: seconds after which a worker that does not answer is restarted.
        startup_timeout: seconds a worker may take to load.
        threads: compute threads per worker; 0 shares the cores out among the workers, or leaves
            it to the server as well.
        max_pixels: the largest image accepted, height times width.
        precision: what the model computes in. ``"auto"`` is the fastest on the server's CPU among
            ``precisions``, which a worker measures. If the CPU has no instructions
            for int8, ``"int8"`` is served as ``"auto"``.
        precisions: those in which the model was found to agree with itself in float32.
        explanations: whether workers explain predictions, which takes dozens of passes through the
            network for one image, and memory for the model in float32 besides.
    """

    workers: int = 0
    batch_size: int = 16
    max_batch_delay: int = 1
    response_timeout: int = 60
    startup_timeout: int = 120
    threads: int = 0
    max_pixels: int = 50_000_000
    precision: Literal["auto", "int8", "bfloat16", "float32"] = "auto"
    precisions: tuple[str, ...] = ("bfloat16", "float32")
    explanations: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name in ("precision", "precisions", "explanations"):
                continue
            least = 0 if name in ("workers", "threads") else 1
            if value < least:
                raise ValueError(f"{name}: expected a whole number from {least}, got {value}")

    def to_yaml(self) -> str:
        workers = {"minWorkers": self.workers, "maxWorkers": self.workers} if self.workers else {}
        return yaml.safe_dump(
            {
                **workers,
                "batchSize": self.batch_size,
                "maxBatchDelay": self.max_batch_delay,
                "responseTimeout": self.response_timeout,
                "startupTimeout": self.startup_timeout,
                "falconet": {
                    "threads": self.threads,
                    "max_pixels": self.max_pixels,
                    "precision": self.precision,
                    "precisions": list(self.precisions),
                    "explanations": self.explanations,
                },
            },
            sort_keys=False,
        )


def archive(
    folder: Path,
    output: Path,
    *,
    handler: Path,
    version: str = "1.0",
    serving: Serving | None = None,
    known: Sequence[samples.Sample] = (),
    allow: Sequence[str] = (),
) -> None:
    """Pack ``model.pt``, ``spec.json``, and ``proof.json`` and ``int8.json`` if any.

    The model may be any TorchScript file that takes ``(N, C, height, width)`` float32 and returns
    ``(N, classes)`` logits. The model's name is that of the output file, without ``.mar``.

    Args:
        folder: as :func:`falconet.model.export.export` leaves it.
        output: the ``.mar`` file; put in place only when complete.
        handler: the file that TorchServe imports.
        version: of the model; a number like ``2`` or ``2.1``.
        serving: how to run it.
        allow: formats that are decoded besides those of ``spec.json``.
        known: images to try the model with before it takes over from another.

    Raises:
        FileNotFoundError: the folder lacks one of the two files.
        ValueError: ``spec.json`` is not valid, ``output`` does not end in ``.mar``, or the version
            is none that TorchServe can hold.
        ArchiveError: torch-model-archiver failed.
    """
    check(folder, output, version)
    model = folder / MODEL
    stated = spec.Spec.load(folder)
    also = [name for name in allow if name not in stated.formats]
    stated = replace(stated, formats=(*stated.formats, *also))
    output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output, so that the last step is a rename. The archiver assembles its files in
    # TMPDIR/<model name>, where two runs at a time would meet.
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".archive-") as temporary:
        # With every field, also those that a spec written by hand leaves to their defaults.
        stated.save(Path(temporary))
        config = Path(temporary, CONFIG)
        config.write_text((serving or Serving()).to_yaml(), encoding="utf-8")
        samples.save(known, Path(temporary))
        extra = [spec.FILE_NAME, samples.FILE_NAME]
        for name in (PROOF, INT8):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, Path(temporary, name))
                extra.append(name)
        packed = [model, handler, config, *(Path(temporary, name) for name in extra)]
        sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in packed}
        Path(temporary, CHECKSUMS).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")
        finished = subprocess.run(
            [
                sys.executable,
                "-m",
                "model_archiver.model_packaging",
                *("--model-name", output.stem),
                *("--version", version),
                *("--serialized-file", str(model.resolve())),
                *("--handler", str(handler)),
                # A list of patterns, so by their bare names.
                *("--extra-files", ",".join([*extra, CHECKSUMS])),
                *("--config-file", config.name),
                *("--export-path", "."),
            ],
            cwd=temporary,
            env={**os.environ, "TMPDIR": str(Path(temporary).resolve())},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if finished.returncode != 0:
            raise ArchiveError(f"torch-model-archiver failed:\n{finished.stdout.strip()}")
        _store(Path(temporary, output.name), Path(temporary, "stored"))
        Path(temporary, "stored").replace(output)


def calibration_file(weights: Path) -> Path:
    """Where ``int8.json`` of the exported weights is kept."""
    return weights.with_suffix(f".{INT8}")


def archive_workers(archive: Path) -> int:
    """How many workers an archive names; 0 where it leaves that to the server."""
    return int(_config(archive).get("minWorkers", 0))


def has_explanations(archive: Path) -> bool:
    """Whether a model was packed with explanations."""
    return bool(_config(archive).get("falconet", {}).get("explanations", False))


def _config(archive: Path) -> dict[str, Any]:
    with zipfile.ZipFile(archive) as mar:
        config = yaml.safe_load(mar.read(CONFIG)) if CONFIG in mar.namelist() else None
    return config or {}


def check(folder: Path, output: Path, version: str) -> None:
    """Make sure, before any work, that a folder can be packed; raises as :func:`archive` does."""
    if output.suffix != ".mar":
        raise ValueError(f"output: expected a file that ends in .mar, got {output}")
    check_version(version)
    if not (folder / MODEL).is_file():
        raise FileNotFoundError(f"{folder}: expected the TorchScript file {MODEL} in it")


def _store(archive: Path, output: Path) -> None:
    """Copy an archive without its compression.

    TorchServe unpacks on a thread that answers requests, which stand still meanwhile; and weights
    hardly shrink.
    """
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(output, "w") as new:
        for info in old.infolist():
            new.writestr(zipfile.ZipInfo(info.filename, info.date_time), old.read(info))


def check_version(version: str) -> None:
    """TorchServe takes versions for numbers, and orders them as such.

    Raises:
        ValueError: it is none, or 0.
    """
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", version) or not float(version):
        raise ValueError(f"version: expected a number above 0 like 2 or 2.1, got {version!r}")
