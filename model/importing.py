"""Writing a model from elsewhere into a folder, with a proof that it says the same."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from falconet.native.decode import Decoder, gray
from falconet.native.errors import ImageError

from .archive import MODEL, PROOF
from .export import write_script
from .importers.model import Model
from .samples import generated_images, keep, png

# Of sums in another order, in float32.
MOST_MOVED = 1e-3
BATCH = 8


class ImportedModelError(RuntimeError):
    """The model that was written does not say what the original does."""


@dataclass(frozen=True)
class Proof:
    """How a model and its original compare.

    Attributes:
        images: how many were shown to both.
        made: whether the images were made, for want of others.
        same_bytes: on how many the resized bytes are the same; ``None`` where the original's own
            preprocessing is not known.
        input_difference: the largest of two normalized values; likewise.
        probability_difference: the largest of two probabilities.
        logit_difference: the largest of two numbers that the networks return, as a share of the
            largest of any image from their mean.
        same_top1: on how many both name the same class, or one that is as likely.
        classes_named: how many different ones.
    """

    images: int
    made: bool
    same_bytes: int | None
    input_difference: float | None
    probability_difference: float
    logit_difference: float
    same_top1: int
    classes_named: int

    @property
    def holds(self) -> bool:
        """Whether the model that was written says the same."""
        return (
            self.same_top1 == self.images
            and self.logit_difference <= MOST_MOVED
            and self.same_bytes in (None, self.images)
        )

    def __str__(self) -> str:
        of = f"{self.images} {'generated ' if self.made else ''}images"
        said = (
            f"the same class on {self.same_top1} of {of} ({self.classes_named} classes occur); "
            f"probabilities differ by at most {self.probability_difference:.1g}\n"
        )
        if self.same_bytes is None:
            return f"{said}the preprocessing is not compared, as the original's is not known"
        return (
            f"{said}the preprocessing gives the same bytes on {self.same_bytes}, normalized values "
            f"differ by at most {self.input_difference:.1g}"
        )


def write(model: Model, folder: Path, files: Mapping[str, bytes] | None = None) -> Proof:
    """Write ``model.pt``, ``spec.json``, ``proof.json`` and samples into a folder.

    Args:
        model: as an importer gives it.
        folder: made where there is none.
        files: images that it knows, by name; made ones are shown to it otherwise, and not kept.

    Raises:
        ImportedModelError: the file says something else than the model does.
        ValueError: an image cannot be decoded.
    """
    images = files or {
        f"made {i}": png(each) for i, each in enumerate(generated_images(model.spec.size, 32))
    }
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{MODEL}.partial"
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # tracers warn of much
            example = torch.randn(2, len(model.spec.mean), *model.spec.size)
            script = write_script(model.network, example, partial)
            proof = compare(model, script, images, made=not files)
    except RuntimeError as error:
        partial.unlink(missing_ok=True)
        raise ImportedModelError(
            "the model cannot be written as TorchScript, or not for batches of every size: "
            f"{str(error).strip().splitlines()[-1]}"
        ) from error
    if not proof.holds:
        partial.unlink()
        raise ImportedModelError(f"the model that was written differs from the original: {proof}")
    partial.replace(folder / MODEL)
    model.spec.save(folder)
    (folder / PROOF).write_text(json.dumps(asdict(proof), indent=2) + "\n")
    if files:
        keep(files, folder)
    return proof


def _decoded(decoder: Decoder, name: str, file: bytes) -> npt.NDArray[np.uint8]:
    try:
        return decoder.decode(file)
    except ImageError as error:
        raise ValueError(f"{name}: {error}") from error


def compare(
    model: Model,
    written: torch.nn.Module,
    files: Mapping[str, bytes],
    *,
    made: bool,
) -> Proof:
    """Show images to a model in its own way, and to what was written of it in ours."""
    spec = model.spec
    preprocess, decoder = spec.preprocessor(), spec.decoder()
    mean, std = (np.array(each, np.float32)[:, None, None] for each in (spec.mean, spec.std))

    def resized(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = np.rint((batch * std + mean) * 255)
        return found

    same_bytes, moved = 0, 0.0
    expected, got = [], []
    names = list(files)
    for start in range(0, len(names), BATCH):
        some = [_decoded(decoder, name, files[name]) for name in names[start : start + BATCH]]
        seen = [gray(each) for each in some] if len(spec.mean) == 1 else some
        ours = preprocess(seen)
        theirs = ours
        if model.preprocess is not None:
            theirs = torch.stack([model.preprocess(Image.fromarray(each)) for each in some]).numpy()
            same_bytes += int((resized(ours) == resized(theirs)).all((1, 2, 3)).sum())
            moved = max(moved, float(np.abs(ours - theirs).max()))
        expected.append(model.network(torch.from_numpy(theirs)))
        got.append(written(torch.from_numpy(ours)))
    # A trace may have kept the size of its batch.
    for size in (1, 3):
        batch = torch.randn(size, len(spec.mean), *spec.size)
        expected.append(model.network(batch))
        got.append(written(batch))
    logits, found = torch.cat(expected), torch.cat(got)
    spread = float((logits - logits.mean(1, keepdim=True)).abs().max())
    off = float((logits - found).abs().max())
    count = len(files)
    expected_share = spec.probabilities(logits)
    likely, named = expected_share[:count], found[:count].argmax(1)
    as_likely = likely.amax(1) - likely.gather(1, named[:, None])[:, 0] <= MOST_MOVED / 10
    same = (likely.argmax(1) == named) | as_likely
    known = model.preprocess is not None
    return Proof(
        images=count,
        made=made,
        same_bytes=same_bytes if known else None,
        input_difference=moved if known else None,
        probability_difference=float((expected_share - spec.probabilities(found)).abs().max()),
        logit_difference=off / spread if spread else off,
        same_top1=int(same.sum()),
        classes_named=len(named.unique()),
    )
