"""Measures what fast decoding costs in accuracy, on the whole test set, and writes it down.

    .venv/bin/python benchmarks/fast_decode.py --data DIR

DIR holds test/<class>/<picture>; without it CIFAR-10 is downloaded. The pictures are enlarged,
saved as JPEG, and classified by the shipped weights with exact and with fast decoding. Writes
benchmarks/results/fast_decode.json and the table in docs/preprocessing.md.
"""

import argparse
import io
import json
from typing import Any

import numpy as np
from document import DOCS, RESULTS, environment, replace_between
from PIL import Image

from falconet.cli.model import open_classifier
from falconet.handler.classifier import Classifier
from falconet.training import data as datasets
from falconet.training.progress import track

BATCH = 100
# 32 is the network's own size, which there is nothing to shrink in. 64 is the least that fast
# decoding leaves: the others are shrunk by 2, 4, and 8.
SIDES = (32, 128, 256, 512)
QUALITY = 90


def enlarged(picture: datasets.Picture, side: int) -> bytes:
    """The picture as a JPEG of that many pixels a side."""
    image = Image.open(io.BytesIO(datasets.encode(picture))).convert("RGB")
    file = io.BytesIO()
    image.resize((side, side), Image.Resampling.LANCZOS).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def measure(classifier: Classifier, dataset: Any, side: int) -> dict[str, Any]:
    """Accuracy with both ways of decoding, and how far the network's inputs are apart."""
    names = [dataset.classes[label] for label in dataset.labels]
    found: dict[bool, list[str]] = {False: [], True: []}
    difference = 0.0
    for start in track(range(0, len(names), BATCH), f"{side} x {side}"):
        pictures = dataset.pictures[start : start + BATCH]
        encoded = [classifier.open(enlarged(picture, side), 10**9) for picture in pictures]
        batches = {}
        for fast in (False, True):
            classifier.fast_decoding = fast
            batches[fast] = classifier.batch(len(pictures))
            pixels = [classifier.decode(picture) for picture in encoded]
            classifier.prepare(pixels, batches[fast])
            found[fast] += [best[0].label for best in classifier.predict(batches[fast])]
        difference += float(np.abs(batches[True] - batches[False]).mean()) * len(pictures)
    factor = side // classifier.decode(encoded[0]).shape[0]
    std = float(np.mean(classifier.preprocess.std))
    return {
        "side": side,
        "shrunk_by": factor,
        "pictures": len(names),
        "exact": sum(a == b for a, b in zip(names, found[False], strict=True)),
        "fast": sum(a == b for a, b in zip(names, found[True], strict=True)),
        "same_label": sum(a == b for a, b in zip(found[False], found[True], strict=True)),
        "mean_difference": difference / len(names) * std * 255,
    }


def table(result: dict[str, Any]) -> str:
    lines = [
        "| JPEG of | shrunk by | exact | fast | same label | mean difference of a byte |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        n = row["pictures"]
        lines.append(
            f"| {row['side']} x {row['side']} | {row['shrunk_by']} | {row['exact'] / n:.2%} | "
            f"{row['fast'] / n:.2%} | {row['same_label'] / n:.2%} | {row['mean_difference']:.2f} |"
        )
    pictures = result["rows"][0]["pictures"]
    return (
        "\n".join(lines)
        + f"""

The {pictures:,} test pictures of CIFAR-10, enlarged with Lanczos and saved as JPEG of quality
{QUALITY}, classified by the weights that come along, which see 32 x 32 pixels. Measured once by
`benchmarks/fast_decode.py` on {result["environment"]}.
"""
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="cifar10")
    dataset = datasets.load(parser.parse_args().data, "test")
    with open_classifier(None) as classifier:
        rows = [measure(classifier, dataset, side) for side in SIDES]
    result = {"rows": rows, "environment": environment()}
    (RESULTS / "fast_decode.json").write_text(json.dumps(result, indent=2) + "\n")
    replace_between(DOCS / "preprocessing.md", "fast_decode", table(result))
    print(table(result))


if __name__ == "__main__":
    main()
