"""Measures the memory that training on photographs takes, and how fast they are decoded for it.

    .venv/bin/python -m benchmarks.photographs [--quick]

Makes 2,000 photographs of 12 megapixels, of which few are distinct files and the others links to
them. One epoch of the recipe transfer is run on them, and the highest memory of its process noted.
Then they are decoded and resized as for training, in turn with what the cores can do at most: a
process for each, which does nothing but read and decode the same files. Writes
benchmarks/results/photographs.json and the lines in docs/training.md. Takes half an hour on two
cores; ``--quick`` is for trying it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from falconet.native.cores import available_cores
from falconet.training import data, recipes
from falconet.training.prepared import prepare, uncropped

from .. import document
from ..images import encode, photographs
from ..table import spread, table
from .decoding import only_decode

WIDTH, HEIGHT = 4032, 3024
CLASSES, DISTINCT = 10, 4
PHOTOGRAPHS, QUICK = 2000, 60
ROUNDS = 5
SPEED_OF = 200  # photographs, at most, in a round
MEMORY_TARGET, SPEED_TARGET = 2e9, 0.8


def make(folder: Path, count: int) -> None:
    """A training set with so many photographs."""
    files = [encode(pixels) for pixels in photographs(DISTINCT, WIDTH, HEIGHT)]
    for i in range(count):
        path = folder / "train" / f"class{i % CLASSES}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        first = folder / f"{i // CLASSES % DISTINCT}.jpg"
        if not first.exists():
            first.write_bytes(files[i // CLASSES % DISTINCT])
        os.link(first, path)


def train(folder: Path, count: int) -> dict[str, Any]:
    """One epoch in a process of its own: its highest memory in bytes, and its seconds."""
    fields = ["transfer", "epochs=1", f"validation={count // 10}"]
    places = ["--data", str(folder), "--output", str(folder / "run")]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "falconet.cli", "train", *fields, *places])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"falconet train ended with {process.returncode}")
    weights = (folder / "run" / "weights.pt").stat().st_size
    seconds = time.perf_counter() - began
    return {"memory": usage.ru_maxrss * 1024, "seconds": seconds, "weights": weights}


def speed(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Photographs per second, in turn as for training and by processes that only decode."""
    dataset = data.load(folder, "train")
    recipe = recipes.load("transfer")
    spec = uncropped(recipe.spec(dataset.classes))
    chosen = np.linspace(0, len(dataset.images) - 1, min(SPEED_OF, len(dataset.images))).astype(int)
    paths: Sequence[Any] = [dataset.images[i] for i in chosen]
    found: dict[str, list[float]] = {"training": [], "decoding": []}
    with ProcessPoolExecutor(available_cores(), get_context("spawn")) as cores:
        list(cores.map(only_decode, paths[:10]))  # they have to start
        for _ in range(rounds):
            began = time.perf_counter()
            prepare(dataset, chosen, spec)
            middle = time.perf_counter()
            list(cores.map(only_decode, paths, chunksize=2))
            found["training"].append(len(chosen) / (middle - began))
            found["decoding"].append(len(chosen) / (time.perf_counter() - middle))
    return found


def page(result: dict[str, Any]) -> str:
    rates = result["speed"]
    shares = [a / b for a, b in zip(rates["training"], rates["decoding"], strict=True)]
    rows = [
        ["highest memory of the process", f"{result['memory'] / 1e9:.2f} GB", "2 GB"],
        ["`weights.pt`", f"{result['weights'] / 1e6:.0f} MB", ""],
        ["decoded and resized, per second", spread(rates["training"], ".1f"), ""],
        ["only decoded, a process for each core", spread(rates["decoding"], ".1f"), ""],
        ["share of the latter", spread(shares, ".0%"), f"{SPEED_TARGET:.0%}"],
    ]
    return f"""{table(["", "measured", "target"], rows)}

{result["photographs"]:,} photographs of {WIDTH} x {HEIGHT}, one epoch of `transfer`;
{len(shares)} rounds of decoding, in turn, median and range.
{document.measured("photographs", result["machine"])}
"""


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="few photographs, into build/")
    quick = parser.parse_args().quick
    count = QUICK if quick else PHOTOGRAPHS
    result = document.conditions() | {"photographs": count}
    with TemporaryDirectory(prefix="falconet-") as temporary:
        folder = Path(temporary)
        make(folder, count)
        result |= train(folder, count)
        result["speed"] = speed(folder, 2 if quick else ROUNDS)
    print(page(result))
    document.keep("photographs", result, quick)
    if not quick:
        document.write(document.DOCS / "training.md", "photographs", page(result))
    if result["memory"] > MEMORY_TARGET:
        raise SystemExit("training took more than 2 GB")


if __name__ == "__main__":
    main()
