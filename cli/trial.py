"""A model is tried as it will be served, before it is packed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from falconet.model.archive import INT8, MODEL, Serving
from falconet.model.samples import FOLDER, Sample, generated_images, in_folder, png
from falconet.model.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from falconet.handler.precision import Precision
    from falconet.model.export import Parity
    from falconet.native.data import Pixels

# Of a model's own images, as many get the same class in bfloat16, or it is not used. Of made
# ones, which a model has no opinion of, as many get nearly the same probability.
AGREEMENT = 0.98
# So many images go into the archive, whose probability no precision moves by more than this.
KNOWN, MOVED = 16, 0.05
BATCH = 8
# By how much the agreement of a few samples may fall below that of many images.
DOUBT = 0.1
# Of what a model returns, as a share of the largest, in float32.
NEIGHBOURS = 1e-2


@dataclass(frozen=True)
class Trial:
    """How a model may be served, and what is known of it.

    Attributes:
        serving: as was asked for, with the precisions that agree with float32; its precision is
            float32 if no other does.
        rounded: how other precisions that were tried compare with float32.
        known: images, with what the model says of them.
    """

    serving: Serving
    rounded: "dict[str, Parity]"
    known: list[Sample]


def try_out(folder: Path, serving: Serving, images: "Sequence[Pixels]" = ()) -> Trial:
    """Run a model in each precision that it may be served in.

    Args:
        folder: with ``model.pt`` and ``spec.json``, and ``int8.json`` if it may be served so.
        serving: how it is to be served.
        images: of its own; else those in its folder ``samples``, or made ones.

    Raises:
        ValueError: the model cannot be run, returns something else than finite numbers for each of
            its classes, mixes the images of a batch, or is to be served in a precision that it
            cannot be, or with explanations that it cannot give.
    """
    from falconet.model.export import Parity

    if serving.precision == "int8" and not (folder / INT8).is_file():
        raise ValueError(
            f"--precision int8: there is no {INT8} in {folder}; add --calibrate DIR, a folder of "
            "at least 64 images"
        )
    spec = Spec.load(folder)
    files = [png(pixels) for pixels in images] or [
        *in_folder(folder / FOLDER, spec.formats).values()
    ]
    made = not files
    files = files or [png(pixels) for pixels in generated_images(spec.size)]
    model = _Model(folder, spec, "float32")
    exact = model.logits(files)
    if serving.batch_size > 1 and len(files) > 1:
        model.check_neighbours(files[:2], exact[:2])
    if serving.explanations:
        model.check_gradients(files[0])
    del model  # before another one is loaded
    found: dict[str, Tensor] = {"float32": exact}
    rounded: dict[str, Parity] = {}
    for precision in _to_try(folder, serving):
        try:
            found[precision] = _Model(folder, spec, precision).logits(files)
        except ValueError:
            if precision in (serving.precision, "int8"):
                raise
            continue
        rounded[precision] = Parity.of(exact, found[precision])
        moved = (spec.probabilities(exact) - spec.probabilities(found[precision])).abs().amax(1)
        agree = int((moved <= MOVED).sum()) if made else rounded[precision].same_top1
        if precision == "int8" and not made:
            _check_agreement(folder, agree / len(files))
        rejected = precision == "bfloat16" and agree < AGREEMENT * len(files)
        if rejected and serving.precision != precision:
            del found[precision]
    known = _known(files, spec, found, made=made)
    while not known and serving.precision == "auto":
        found.popitem()
        known = _known(files, spec, found, made=made)
    if not known:
        raise ValueError(
            f"in {serving.precision} no sample image keeps its top-1 class with a probability "
            f"within {MOVED} of that in float32; use --precision float32"
        )
    precision = serving.precision if len(found) > 1 else "float32"
    return Trial(
        replace(serving, precision=precision, precisions=tuple(reversed(found))), rounded, known
    )


def _check_agreement(folder: Path, agreement: float) -> None:
    """Make sure that int8 is of this model: calibration compared it on many more images."""
    from falconet.handler.quantization import Quantization

    asked = Quantization.from_json((folder / INT8).read_text(encoding="utf-8")).least_agreement
    if agreement < asked - DOUBT:
        raise ValueError(
            f"{folder / INT8}: in int8 only {agreement:.0%} of the sample images keep their top-1 "
            f"class, {asked:.1%} were asked for; run falconet archive --calibrate DIR again"
        )


def _to_try(folder: Path, serving: Serving) -> "list[Precision]":
    """What a worker may serve besides float32; a CPU may not have what was asked for."""
    if serving.precision == "float32":
        return []
    quantized = serving.precision != "bfloat16" and (folder / INT8).is_file()
    return ["bfloat16", "int8"] if quantized else ["bfloat16"]


class _Model:
    """A model in one precision, loaded once.

    Raises:
        ValueError: it cannot be loaded; or, by each method, run.
    """

    def __init__(self, folder: Path, spec: Spec, precision: "Precision") -> None:
        from falconet.handler.classifier import Classifier

        self._path, self._spec, self._precision = folder / MODEL, spec, precision
        with self._errors():
            self._classifier = Classifier(folder, precision=precision)
            self._classifier.warm_up(2)

    def logits(self, files: Sequence[bytes], batch: int = BATCH) -> "Tensor":
        """What it says of images, ``(N, classes)``, so many at a time."""
        import torch

        classifier, found = self._classifier, []
        with self._errors():
            for start in range(0, len(files), batch):
                pixels = [classifier.decoder.decode(file) for file in files[start : start + batch]]
                rows = classifier.batch(len(pixels))
                classifier.prepare(pixels, rows)
                found.append(classifier.logits(rows))
            return torch.cat(found)

    def check_neighbours(self, files: Sequence[bytes], exact: "Tensor") -> None:
        """Make sure that what it says of an image does not depend on others in its batch.

        Args:
            files: of images.
            exact: what it says of them in a batch.
        """
        for together, alone in zip(exact, self.logits(files, batch=1), strict=True):
            moved = float((alone - together).abs().max())
            if moved > NEIGHBOURS * max(1e-6, float(together.abs().max())):
                raise ValueError(
                    f"{self._path}: what the model returns for an image depends on the others in "
                    f"its batch, by {moved:.2g}; use --batch-size 1"
                )

    def check_gradients(self, file: bytes) -> None:
        """Make sure that what it says of an image can be explained."""
        from falconet.handler.explainer import Explainer

        with self._errors():
            explainer = Explainer(self._path, self._classifier)
            explainer.explain(self._classifier.decoder.decode(file), None, math.inf)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self._path}: {error}") from error
        except RuntimeError as error:  # of TorchScript, whose last line says what is wrong
            shape = (1, len(self._spec.mean), *self._spec.size)
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(
                f"{self._path}: cannot be run in {self._precision} on a batch of {shape}, as "
                f"spec.json states: {reason}"
            ) from error


def _known(
    files: Sequence[bytes], spec: Spec, found: "Mapping[str, Tensor]", *, made: bool
) -> list[Sample]:
    """Images with the best class in float32; those that another precision moves are out."""
    known: list[Sample] = []
    best = {name: spec.probabilities(each).max(1) for name, each in found.items()}
    exact = best["float32"]
    for i, file in enumerate(files):
        stays = all(
            each.indices[i] == exact.indices[i]
            and abs(float(each.values[i] - exact.values[i])) <= MOVED
            for each in best.values()
        )
        if stays and len(known) < KNOWN:
            label = spec.classes[int(exact.indices[i])]
            known.append(Sample(file, label, round(float(exact.values[i]), 6), made))
    return known
