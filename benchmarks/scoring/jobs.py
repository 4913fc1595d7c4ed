"""The jobs that are measured, whose results are all checked."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import pyarrow.dataset as ds
from rich.progress import Progress

from falconet.handler import ENTRY
from falconet.model.archive import Serving, archive

from .. import rounds, system, task
from ..document import ROOT
from ..load_generator.load import closed_loop
from ..task import Task
from ..usage import usage
from .ray_nodes import ray_nodes

CONNECTIONS, SERVED_SECONDS = 32, 20.0
ROUNDS = 3
IMAGES, LOOP_IMAGES, NODE_IMAGES = 20_000, 1_000, 4_000
PART = 250  # images, for the cores to end together
SMALL_IMAGES = 1_000_000
MEMORY_SECONDS = 1.0  # between two looks at it
KILLS, KILLED_IMAGES, KILLED_PART = 20, 100_000, 1_000
MOMENT = (0.5, 4.0)  # seconds after the start, when a job is killed


@dataclass(frozen=True)
class Images:
    """Images in files.

    Attributes:
        task: whose images and labels they are.
        folder: of everything.
        archive: of the model.
    """

    task: Task
    folder: Path
    archive: Path

    @classmethod
    @contextmanager
    def of(cls, given: Task) -> Iterator["Images"]:
        with TemporaryDirectory(prefix="falconet-") as temporary:
            folder = Path(temporary)
            packed = folder / f"{given.name}.mar"
            serving = Serving(precision=given.precision)
            archive(given.folder, packed, handler=ENTRY, serving=serving)
            yield cls(given, folder, packed)

    def photos(self, count: int) -> Path:
        """A folder with so many files; image ``i`` is number ``i`` modulo their number."""
        made = self.folder / f"photos-{count}"
        if not made.is_dir():
            made.mkdir()
            for i in range(count):
                file = made / f"{i:07}.jpg"
                file.write_bytes(self.task.images[i % len(self.task.images)])
        return made

    def listed(self, count: int) -> Path:
        """A text file with so many paths, of which many are the same."""
        files = [str(path) for path in sorted(self.photos(len(self.task.images)).iterdir())]
        made = self.folder / f"{count}.txt"
        with made.open("w") as file:
            file.writelines(f"{files[i % len(files)]}\n" for i in range(count))
        return made

    def command(self, source: Path, output: Path, *options: str) -> list[str]:
        """`falconet score` of these images."""
        return [
            *(sys.executable, "-m", "falconet.cli", "score", str(source)),
            *("--model", str(self.archive), "--output", str(output), "--json", *options),
        ]

    def score(
        self, count: int, *options: str, environment: Mapping[str, str] | None = None
    ) -> float:
        """Images/s of a whole job, whose labels are right."""
        source = self.photos(count)
        with TemporaryDirectory(dir=self.folder) as output:
            command = self.command(source, Path(output), "--part-size", str(PART), *options)
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            seconds = time.perf_counter() - began
            rows = results(Path(output))
        labels = self.task.served
        wrong = sum(label != labels[int(Path(key).stem) % len(labels)] for key, label, _ in rows)
        if wrong or len(rows) != count:
            raise RuntimeError(f"expected {count} right labels, got {len(rows)}, {wrong} wrong")
        return count / seconds

    def loop(self, count: int) -> float:
        """Images/s of the usual loop."""
        output = self.folder / "loop.csv"
        command = [sys.executable, "-m", "benchmarks.scoring.loop"]
        began = time.perf_counter()
        subprocess.run(
            [*command, str(self.photos(count)), str(self.task.folder), str(output)],
            check=True,
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - began
        with output.open(newline="") as file:
            found = {int(Path(key).stem): label for key, label in csv.reader(file)}
        labels = self.task.float32
        wrong = sum(label != labels[i % len(labels)] for i, label in found.items())
        if wrong or len(found) != count:
            raise RuntimeError(f"expected {count} right labels, got {len(found)}, {wrong} wrong")
        return count / seconds


def results(output: Path) -> list[tuple[str, str, float]]:
    """Key, label and probability of every row."""
    table = ds.dataset(output, format="parquet").to_table(columns=["key", "label", "probability"])
    return [tuple(row.values()) for row in table.to_pylist()]


def rate(quick: bool, bars: Progress) -> dict[str, Any]:
    """The command, the server, and the loop, in turn."""
    count, loop_count, times = (1_000, 200, 1) if quick else (IMAGES, LOOP_IMAGES, ROUNDS)
    found: dict[str, list[float]] = {"score": [], "served": [], "loop": []}
    with task.resnet() as given, Images.of(given) as images, system.falconet(given) as served:
        images.photos(count), images.photos(loop_count)

        def load() -> list[Any]:
            return closed_loop(served.target, CONNECTIONS, 2.0 if quick else SERVED_SECONDS, 0)

        bar = bars.add_task("images/s", total=3 * times)
        for _ in range(times):
            row = rounds.measure(served, load)
            if row["errors"]:
                raise RuntimeError(f"expected right answers of the server, got {row['errors']}")
            found["served"].append(row["throughput"])
            bars.advance(bar)
            found["score"].append(images.score(count))
            bars.advance(bar)
            found["loop"].append(images.loop(loop_count))
            bars.advance(bar)
    return {**found, "images": count, "loop_images": loop_count, "precision": given.precision}


def nodes(quick: bool, bars: Progress) -> dict[str, Any]:
    """Two nodes with a core each, one node with both, and no cluster."""
    count, times = (400, 1) if quick else (NODE_IMAGES, ROUNDS)
    found: dict[str, list[float]] = {"two": [], "one": [], "none": []}
    with task.resnet() as given, Images.of(given) as images:
        images.photos(count)
        bar = bars.add_task("nodes", total=3 * times)
        for _ in range(times):
            for name, cores in (("two", [1, 1]), ("one", [2])):
                with ray_nodes(cores) as cluster:
                    options = ("--address", cluster.address)
                    value = images.score(count, *options, environment=cluster.environment)
                found[name].append(value)
                bars.advance(bar)
            found["none"].append(images.score(count))
            bars.advance(bar)
    return {**found, "images": count}


def memory(quick: bool, bars: Progress) -> dict[str, Any]:
    """Private memory of all processes of a long job."""
    count = 20_000 if quick else SMALL_IMAGES
    samples: list[int] = []
    with task.cifar() as given, Images.of(given) as images:
        source, output = images.listed(count), images.folder / "out"
        process = psutil.Popen(images.command(source, output), stdout=subprocess.PIPE)
        bar = bars.add_task("memory", total=count)
        while process.poll() is None:
            every = [process, *process.children(recursive=True)]
            samples.append(usage(every).memory)
            done = 1000 * len(list((output / "_done").glob("*.json")))
            bars.update(bar, completed=done)
            time.sleep(MEMORY_SECONDS)
        assert process.stdout is not None
        summary = json.loads(process.stdout.read())
        labels = set(given.served)
        wrong = sum(label not in labels for label in summary["classes"])
    if process.returncode or wrong or summary["images"] != count or summary["errors"]:
        raise RuntimeError(f"expected {count} images without an error, got {summary}")
    fifth = max(1, len(samples) // 5)
    return {
        "images": count,
        "seconds": summary["this_run"]["seconds"],
        "second_fifth": median(samples[fifth : 2 * fifth]),
        "last_fifth": median(samples[-fifth:]),
        "samples": samples,
    }


def kills(quick: bool, bars: Progress) -> dict[str, Any]:
    """A job that is killed at random moments and resumed, and the same one in peace."""
    count, times = (5_000, 2) if quick else (KILLED_IMAGES, KILLS)
    random = np.random.default_rng(0)
    options = ("--part-size", str(KILLED_PART))
    with task.cifar() as given, Images.of(given) as images:
        source, whole, killed = images.listed(count), images.folder / "whole", images.folder / "out"
        subprocess.run(
            images.command(source, whole, *options), check=True, stdout=subprocess.DEVNULL
        )
        bar = bars.add_task("kills", total=times)
        command = [*images.command(source, killed, *options), "--resume"]
        done = 0
        for _ in range(times):
            process = psutil.Popen(command, stdout=subprocess.DEVNULL)
            time.sleep(random.uniform(*MOMENT))
            if process.poll() is None:
                process.kill()
                done += 1
            process.wait()
            bars.advance(bar)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        expected, found = results(whole), results(killed)
    different = sum(a != b for a, b in zip(sorted(expected), sorted(found), strict=True))
    return {"images": count, "kills": done, "rows": len(found), "different": different}
