"""Measures what fast decoding costs in accuracy, on the whole test set, and writes it down.

    .venv/bin/python -m benchmarks.fast_decode --data DIR

DIR holds test/<class>/<image>; without it CIFAR-10 is downloaded. The images are enlarged,
saved as JPEG, and classified by the shipped weights with exact and with fast decoding. Writes
benchmarks/results/fast_decode.json and the table in docs/preprocessing.md.
"""

import io
from typing import Any

import numpy as np
from PIL import Image

from falconet.cli.model import open_classifier
from falconet.handler.classifier import Classifier
from falconet.training import data as datasets
from falconet.training.progress import track

from .. import document
from ..images import encode
from ..table import table

BATCH = 100
# 32 is the network's own size, which there is nothing to shrink in. 64 is the least that fast
# decoding leaves: the others are shrunk by 2, 4, and 8.
SIDES = (32, 128, 256, 512)
QUALITY = 90


def enlarged(image: datasets.Image, side: int) -> bytes:
    """The image as a JPEG of that many pixels a side."""
    opened = Image.open(io.BytesIO(datasets.encode(image))).convert("RGB")
    large = opened.resize((side, side), Image.Resampling.LANCZOS)
    return encode(np.asarray(large), QUALITY)


def measure(classifier: Classifier, dataset: Any, side: int) -> dict[str, Any]:
    """Accuracy with both ways of decoding, and how far the network's inputs are apart."""
    names = [dataset.classes[label] for label in dataset.labels]
    found: dict[bool, list[str]] = {False: [], True: []}
    difference = 0.0
    for start in track(range(0, len(names), BATCH), f"{side} x {side}"):
        images = dataset.images[start : start + BATCH]
        encoded = [classifier.open(enlarged(image, side), 10**9) for image in images]
        batches = {}
        for fast in (False, True):
            classifier.fast_decoding = fast
            batches[fast] = classifier.batch(len(images))
            pixels = [classifier.decode(image) for image in encoded]
            classifier.prepare(pixels, batches[fast])
            found[fast] += [best[0].label for best in classifier.predict(batches[fast])]
        difference += float(np.abs(batches[True] - batches[False]).mean()) * len(images)
    factor = side // classifier.decode(encoded[0]).shape[0]
    std = float(np.mean(classifier.preprocess.std))
    return {
        "side": side,
        "shrunk_by": factor,
        "images": len(names),
        "exact": sum(a == b for a, b in zip(names, found[False], strict=True)),
        "fast": sum(a == b for a, b in zip(names, found[True], strict=True)),
        "same_label": sum(a == b for a, b in zip(found[False], found[True], strict=True)),
        "mean_difference": difference / len(names) * std * 255,
    }


def page(result: dict[str, Any]) -> str:
    rows = []
    for row in result["rows"]:
        shares = (row[name] / row["images"] for name in ("exact", "fast", "same_label"))
        size, difference = f"{row['side']} x {row['side']}", f"{row['mean_difference']:.2f}"
        rows.append([size, str(row["shrunk_by"]), *(f"{each:.2%}" for each in shares), difference])
    head = [
        "JPEG of",
        "reduced by",
        "accuracy, exact",
        "accuracy, fast",
        "same label",
        "mean difference of a byte",
    ]
    count = result["rows"][0]["images"]
    return f"""{table(head, rows)}

The {count:,} test images of CIFAR-10, enlarged with Lanczos and saved as JPEG of quality
{QUALITY}, classified by the included model, whose input has 32 x 32 pixels. Measured once by
`{document.command("fast_decode")}` on {result["machine"]}.
"""


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--data", default="cifar10")
    dataset = datasets.load(parser.parse_args().data, "test")
    result = document.conditions()
    with open_classifier(None) as classifier:
        result["rows"] = [measure(classifier, dataset, side) for side in SIDES]
    print(page(result))
    document.keep("fast_decode", result)
    document.write(document.DOCS / "preprocessing.md", "fast_decode", page(result))


if __name__ == "__main__":
    main()
