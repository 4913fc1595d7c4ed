"""Writing a model from elsewhere into a folder, with a proof that it says the same."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from .archive import MODEL
from .importers.model import Model
from .samples import made_pictures, png

PROOF = "proof.json"
SAMPLES = "samples"
# Of sums in another order, in float32.
MOST_MOVED = 1e-3
BATCH = 8


class ImportedModelError(RuntimeError):
    """The model that was written does not say what the original does."""


@dataclass(frozen=True)
class Proof:
    """How a model and its original compare.

    Attributes:
        pictures: how many were shown to both.
        made: whether the pictures were made, for want of others.
        same_bytes: on how many the resized bytes are the same; ``None`` where the original's own
            preprocessing is not known.
        input_difference: the largest of two normalized values; likewise.
        probability_difference: the largest of two probabilities.
        same_top1: on how many both name the same class.
    """

    pictures: int
    made: bool
    same_bytes: int | None
    input_difference: float | None
    probability_difference: float
    same_top1: int

    def __str__(self) -> str:
        of = f"{self.pictures} {'made ' if self.made else ''}pictures"
        said = (
            f"the same class on {self.same_top1} of {of}, probabilities differ by at most "
            f"{self.probability_difference:.1g}"
        )
        if self.same_bytes is None:
            return f"{said}; how the original preprocesses is not known: see to spec.json"
        return (
            f"{said}; resized to the same bytes on {self.same_bytes}, normalized values differ by "
            f"at most {self.input_difference:.1g}"
        )


def write(model: Model, folder: Path, files: Sequence[bytes] = ()) -> Proof:
    """Write ``model.pt``, ``spec.json``, ``proof.json`` and samples into a folder.

    Args:
        model: as an importer gives it.
        folder: made where there is none.
        files: pictures that it knows, as files; made ones are shown to it otherwise, and not kept.

    Raises:
        ImportedModelError: the file says something else than the model does.
        ValueError: a picture cannot be decoded.
    """
    decoder = model.spec.decoder()
    pictures = [decoder.decode(file) for file in files] or made_pictures(model.spec.size, 32)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{MODEL}.partial"
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # torch.jit is deprecated; tracers warn of what is checked
        example = torch.randn(2, len(model.spec.mean), *model.spec.size)
        traced = torch.jit.trace(model.network, example, check_trace=False)
        torch.jit.freeze(traced).save(str(partial))
        proof = compare(model, torch.jit.load(str(partial)), pictures, made=not files)
    if proof.same_top1 != proof.pictures or not proof.probability_difference <= MOST_MOVED:
        partial.unlink()
        raise ImportedModelError(f"the model that was written differs from the original: {proof}")
    partial.replace(folder / MODEL)
    model.spec.save(folder)
    (folder / PROOF).write_text(json.dumps(asdict(proof), indent=2) + "\n")
    for i, pixels in enumerate(pictures if files else []):
        (folder / SAMPLES).mkdir(exist_ok=True)
        (folder / SAMPLES / f"{i:03}.png").write_bytes(png(pixels))
    return proof


def compare(
    model: Model,
    written: torch.nn.Module,
    pictures: Sequence[npt.NDArray[np.uint8]],
    *,
    made: bool,
) -> Proof:
    """Show pictures to a model in its own way, and to what was written of it in ours."""
    preprocess = model.spec.preprocessor()
    mean, std = (
        np.array(each, np.float32)[:, None, None] for each in (model.spec.mean, model.spec.std)
    )

    def resized(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = np.rint((batch * std + mean) * 255)
        return found

    same_bytes, moved, sure, same_top1 = 0, 0.0, 0.0, 0
    for start in range(0, len(pictures), BATCH):
        some = pictures[start : start + BATCH]
        ours = preprocess(some)
        theirs = ours
        if model.preprocess is not None:
            theirs = torch.stack([model.preprocess(Image.fromarray(each)) for each in some]).numpy()
            same_bytes += int((resized(ours) == resized(theirs)).all((1, 2, 3)).sum())
            moved = max(moved, float(np.abs(ours - theirs).max()))
        expected = model.network(torch.from_numpy(theirs)).softmax(1)
        got = written(torch.from_numpy(ours)).softmax(1)
        sure = max(sure, float((expected - got).abs().max()))
        same_top1 += int((expected.argmax(1) == got.argmax(1)).sum())
    known = model.preprocess is not None
    return Proof(
        pictures=len(pictures),
        made=made,
        same_bytes=same_bytes if known else None,
        input_difference=moved if known else None,
        probability_difference=sure,
        same_top1=same_top1,
    )
