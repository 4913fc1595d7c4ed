"""Accuracy and time of networks in float32, bfloat16 and int8, and what `auto` takes.

    .venv/bin/python -m benchmarks.precision --data DIR [--quick]

DIR holds train/<class>/<image> and test/<class>/<image>, of CIFAR-10. Writes
benchmarks/results/precision.json and the table in docs/precision.md; with --quick, which takes two
networks and few images, it prints the table and writes into build/precision/ instead.
"""

import logging
import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from falconet.cli.calibration import CalibrationError, calibrate
from falconet.handler.classifier import Classifier
from falconet.handler.fastest import available, measure
from falconet.handler.precision import Precision
from falconet.model.archive import MODEL
from falconet.model.export import write_script
from falconet.model.spec import Spec
from falconet.native import available_cores
from falconet.native.output import probabilities

from .. import document
from ..progress import progress
from ..table import spread, table
from .networks import BATCH, NETWORKS, fitted

FITTED, TESTED = 400, 400  # images
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")
ROUNDS, SECONDS = 15, 40.0
# Random features have no large margins; see .networks.
LEAST_AGREEMENT = 0.9


def compared(name: str, data: Path, fit: int, test: int) -> dict[str, Any]:
    """A network in each precision."""
    with TemporaryDirectory(prefix="falconet-") as temporary:
        folder = Path(temporary)
        classes = tuple(sorted(each.name for each in (data / "train").iterdir()))
        spec = Spec((224, 224), classes)
        fit_on = _files(data / "train", classes, fit)
        spec.save(folder)
        torch.set_num_threads(available_cores())  # one network before left it at one
        rows = _rows(spec, fit_on)
        labels = torch.tensor([classes.index(file.parent.name) for file in fit_on])
        network = fitted(name, rows, labels).eval()
        with torch.inference_mode():
            write_script(network, rows[:2], folder / MODEL)
        found: dict[str, Any] = {"network": name}
        try:
            calibration = calibrate(folder, fit_on, LEAST_AGREEMENT)
        except CalibrationError as error:
            found["refused"] = str(error)
        else:
            found["layers"] = [
                sum(each.int8 for each in calibration.layers),
                len(calibration.layers),
            ]
        tried = [each for each in PRECISIONS if each != "int8" or "layers" in found]
        classifiers = {each: Classifier(folder, precision=each) for each in tried}
        test_on = _files(data / "test", classes, test)
        found["precisions"] = _accuracy(classifiers, test_on)
        torch.set_num_threads(1)
        for precision, taken in _times(classifiers, rows).items():
            found["precisions"][precision] |= taken
        measured = measure({each: classifiers[each] for each in available(tried)}, BATCH)
        found["auto"] = min(measured, key=lambda each: measured[each])
        return found


def _files(folder: Path, classes: Sequence[str], count: int) -> list[Path]:
    """As many of each class."""
    each = count // len(classes)
    return [file for name in classes for file in sorted((folder / name).iterdir())[:each]]


def _rows(spec: Spec, files: Sequence[Path]) -> Tensor:
    decoder, preprocess = spec.decoder(), spec.preprocessor()
    pixels = [decoder.decode(file.read_bytes()) for file in files]
    return torch.from_numpy(preprocess(pixels)).contiguous(memory_format=torch.channels_last)


def _accuracy(classifiers: dict[Precision, Classifier], files: Sequence[Path]) -> dict[str, Any]:
    logits: dict[str, Tensor] = {}
    for precision, classifier in classifiers.items():
        parts = []
        for start in range(0, len(files), BATCH):
            some = files[start : start + BATCH]
            rows = classifier.batch(len(some))
            classifier.prepare(
                [classifier.decoder.decode(file.read_bytes()) for file in some], rows
            )
            parts.append(classifier.logits(rows))
        logits[precision] = torch.cat(parts)
    exact = logits["float32"]
    classes = next(iter(classifiers.values())).classes
    labels = torch.tensor([classes.index(file.parent.name) for file in files])
    said = {each: probabilities("logits", found) for each, found in logits.items()}
    return {
        precision: {
            "right": int((found.argmax(1) == labels).sum()),
            "same": int((found.argmax(1) == exact.argmax(1)).sum()),
            "moved": float((said[precision] - said["float32"]).abs().max()),
            "images": len(files),
        }
        for precision, found in logits.items()
    }


def _times(classifiers: dict[Precision, Classifier], images: Tensor) -> dict[str, Any]:
    """Milliseconds an image, in turn: alone, and in a batch."""
    found: dict[str, Any] = {each: {"one": [], "batch": []} for each in classifiers}
    inputs = {
        precision: {size: images[:size].to(classifier.network.dtype) for size in (1, BATCH)}
        for precision, classifier in classifiers.items()
    }
    began = perf_counter()
    for turn in range(-1, ROUNDS):
        for key, size in (("one", 1), ("batch", BATCH)):
            for precision, classifier in classifiers.items():
                start = perf_counter()
                classifier.network(inputs[precision][size])
                if turn >= 0:  # the shapes are new before
                    found[precision][key].append(1e3 * (perf_counter() - start) / size)
        if perf_counter() - began > SECONDS and turn > 2:
            break
    return found


def page(result: dict[str, Any]) -> str:
    """The tables, and what they were measured on."""
    accuracy, times, worst = [], [], 0.0
    for each in result["networks"]:
        name, of = f"`{each['network']}`", each["precisions"]
        layers = "{} of {}".format(*each["layers"]) if "layers" in each else "refused"
        shown = [f"{of[p]['right'] / of[p]['images']:.1%}" if p in of else "" for p in PRECISIONS]
        agree = [f"{of[p]['same'] / of[p]['images']:.1%}" for p in PRECISIONS[1:] if p in of]
        moved = [f"{of[p]['moved']:.3f}" for p in PRECISIONS[1:] if p in of]
        accuracy.append(
            [f"`{each['network']}`", layers, *shown, ", ".join(agree), ", ".join(moved)]
        )
        for key, what in (("one", "1"), ("batch", str(BATCH))):
            medians = {p: statistics.median(of[p][key]) for p in of}
            ratio = medians[each["auto"]] / min(medians.values())
            worst = max(worst, ratio)
            cells = [spread(of[p][key], ".2f") if p in of else "" for p in PRECISIONS]
            times.append([name, what, *cells, each["auto"], f"{ratio:.2f}"])
    images = result["images"]
    heads = ["network", "layers in int8", *PRECISIONS, "same class as float32: bfloat16, int8"]
    heads += ["largest change of a probability"]
    rounds = max(len(v["one"]) for n in result["networks"] for v in n["precisions"].values())
    timed = ["network", "batch size", *PRECISIONS, "`auto`", "its time divided by the shortest"]
    return (
        f"{table(heads, accuracy)}\n\nTop-1 accuracy on {images} test images of CIFAR-10, at "
        f"224x224.\n\n{table(timed, times)}\n\nMilliseconds per image, only the network, one "
        f"thread: medians, with minimum and maximum, of up to {rounds} rounds in turn. The "
        f"precision that `auto` selects takes at most {worst:.2f} times the shortest time. "
        f"{document.measured('precision', result['machine'])}\n"
    )


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as folders")
    parser.add_argument("--quick", action="store_true", help="two networks, into build/")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    result = document.conditions()
    result["images"] = 100 if options.quick else TESTED
    chosen = NETWORKS[::4] if options.quick else NETWORKS
    fit = 200 if options.quick else FITTED
    with progress() as bars:
        result["networks"] = []
        for name in bars.track(chosen, description="networks"):
            result["networks"].append(compared(name, options.data, fit, result["images"]))
            document.keep("precision", result, options.quick)  # a later one may fail
    print(page(result))
    document.keep("precision", result, options.quick)
    if not options.quick:
        document.write(document.DOCS / "precision.md", "precision", page(result))


if __name__ == "__main__":
    main()
