"""falconet score on this machine: inputs, results, and what goes wrong."""

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import requests
from click.testing import CliRunner
from PIL import Image

from falconet.cli.main import main
from falconet.scoring import local, plan, storage, worker
from falconet.scoring.formats import FORMATS, encode
from falconet.scoring.job import Job, todo
from falconet.scoring.part import Part
from falconet.scoring.readers import read
from falconet.scoring.row import Row
from falconet.serving.server import Server
from tests.lengths import LONG
from tests.scoring.conftest import COMMAND, job_of


def score(source: object, archive: Path, output: Path, *options: str) -> dict[str, Any]:
    """Run the command; its summary."""
    done = subprocess.run(
        [*COMMAND, str(source), "--model", archive, "--output", output, "--json", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def rows(output: Path) -> list[dict[str, Any]]:
    """All rows of a folder of results, by key."""
    table = ds.dataset(output, format="parquet", exclude_invalid_files=False).to_table()
    return sorted(table.to_pylist(), key=lambda row: str(row["key"]))


def test_a_folder_is_scored_as_the_server_answers(
    folder: Path, cifar: Path, server: Server, tmp_path: Path
) -> None:
    summary = score(folder, cifar, tmp_path / "out", "--part-size", "7", "--workers", "2")
    assert summary["images"] == 19
    assert summary["errors"] == {"400": 1, "415": 1, "422": 1}
    found = rows(tmp_path / "out")
    assert [row["key"] for row in found] == sorted(
        str(path) for path in folder.rglob("*") if path.is_file() and path.name != ".hidden"
    )
    assert (tmp_path / "out" / "part-00002.parquet").is_file()
    url = server.client.prediction_url("cifar10")
    for row in found:
        answer = requests.post(url, data=Path(row["key"]).read_bytes(), timeout=60)
        assert answer.status_code == row["status"]
        if answer.status_code != 200:
            assert row["error"] == answer.json()["error"]["message"]
            assert (row["label"], row["labels"]) == (None, [])
            continue
        expected = answer.json()["predictions"]
        # Kernels for batches of other sizes round otherwise.
        assert row["labels"] == [each["label"] for each in expected]
        assert row["probabilities"] == pytest.approx(
            [each["probability"] for each in expected], abs=1e-4
        )
        assert (row["label"], row["model"], row["version"]) == (row["labels"][0], "cifar10", "1.0")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_thousand_images_are_scored_as_the_server_answers(
    samples: list[Path], cifar: Path, server: Server, tmp_path: Path
) -> None:
    """In all kinds of files; and 16 at a time, so that the server has batches of many sizes."""
    chance = np.random.default_rng(0)
    kinds = [
        *(("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "RGBA")),
        *(("PNG", "P"), ("PNG", "LA"), ("PNG", "I;16"), ("PNG", "1"), ("WEBP", "RGB")),
        *(("WEBP", "RGBA"), ("GIF", "P"), ("BMP", "RGB"), ("AVIF", "RGB"), ("TIFF", "RGB")),
    ]
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(10_000):
        kind, mode = kinds[i % len(kinds)]
        image = Image.open(samples[i % len(samples)]).convert("RGB")
        width, height = chance.integers(8, 80, 2)
        noisy = np.array(image.resize((int(width), int(height))), np.int16)
        noisy += chance.integers(-20, 21, noisy.shape, np.int16)
        image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        path = folder / f"{i:05}.{kind.lower()}"
        if mode == "I;16":
            Image.fromarray(np.array(image.convert("L"), np.uint16) * 257).save(path, kind)
        else:
            image.convert(mode).save(path, kind)
        if i % 50 == 7:  # damaged
            data = path.read_bytes()
            path.write_bytes(data[: chance.integers(len(data))])
    score(folder, cifar, tmp_path / "out", "--workers", "2")
    found = rows(tmp_path / "out")
    url = server.client.prediction_url("cifar10")

    def answer(row: dict[str, Any]) -> requests.Response:
        return requests.post(url, data=Path(row["key"]).read_bytes(), timeout=60)

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(answer, found))
    assert len(found) == 10_000
    assert {row["status"] for row in found} >= {200, 415, 422}
    for row, response in zip(found, answers, strict=True):
        assert response.status_code == row["status"]
        if response.status_code != 200:
            assert row["error"] == response.json()["error"]["message"]
            continue
        expected = {each["label"]: each["probability"] for each in response.json()["predictions"]}
        assert dict(zip(row["labels"], row["probabilities"], strict=True)) == pytest.approx(
            expected, abs=1e-4
        )
        best = next(iter(expected))
        # But for ties, to the rounding of the kernels.
        assert row["label"] == best or expected[best] - expected[row["label"]] < 1e-4


def test_forms_say_the_same() -> None:
    given = [
        Row("a/ü,\n.png", "cat", 0.75, ["cat", "dog"], [0.75, 0.25], None, 200),
        Row.failed("b.png", 'not an "image"', 415),
    ]

    def expected(row: Row) -> dict[str, Any]:
        return {**row._asdict(), "model": "pets", "version": "2.0"}

    found = {form: encode(given, form, "pets", "2.0") for form in FORMATS}
    table = pq.read_table(pa.BufferReader(found["parquet"]))
    assert table.to_pylist() == [expected(row) for row in given]
    lines = found["jsonl"].decode().splitlines()
    assert [json.loads(line) for line in lines] == [expected(row) for row in given]
    for row, fields in zip(given, csv.DictReader(io.StringIO(found["csv"].decode())), strict=True):
        for name, value in expected(row).items():
            text = "" if value is None else str(value)
            assert json.loads(fields[name]) == value if name.endswith("s") else fields[name] == text


def test_images_come_in_many_ways(samples: list[Path], tmp_path: Path) -> None:
    contents = [path.read_bytes() for path in samples[:5]]
    keys = [str(path) for path in samples[:5]]
    pq.write_table(
        pa.table({"image": [*contents, None], "key": [*keys, "none"]}),
        tmp_path / "binary.parquet",
        row_group_size=4,
    )
    nested = [{"bytes": content, "path": key} for content, key in zip(contents, keys, strict=True)]
    pq.write_table(pa.table({"image": nested}), tmp_path / "nested.parquet")
    pq.write_table(pa.table({"url": keys, "other": [1] * 5}), tmp_path / "paths.parquet")
    (tmp_path / "list.txt").write_text("\n".join([*keys, "", str(tmp_path / "gone.png")]))
    with tarfile.open(tmp_path / "set-0.tar", "w") as archive:
        for path in samples[:5]:
            archive.add(path, path.name)
            label = tarfile.TarInfo(f"{path.stem}.cls")
            label.size = 1
            archive.addfile(label, io.BytesIO(b"3"))

    def found(source: object) -> dict[str, Any]:
        output = tmp_path / "plans" / str(len(list(tmp_path.glob("plans/*"))))
        parts = plan.make(str(source), str(output), 2)
        return {item.key: item.data for part in parts for item in read(part)}

    expected = dict(zip(keys, contents, strict=True))
    assert found(tmp_path / "nested.parquet") == expected
    assert found(tmp_path / "paths.parquet") == expected
    assert len(plan.make(str(tmp_path / "paths.parquet"), str(tmp_path / "plan"), 2)) == 3
    brackets = tmp_path / "photos [2026]"
    brackets.mkdir()
    (brackets / "a.png").write_bytes(contents[0])
    assert found(brackets) == {str(brackets / "a.png"): contents[0]}
    assert found(f"{samples[0].parent}/0[0-4]-*.png") == expected
    numbered = pa.table({"image": contents[:2], "id": [0, 1]})
    pq.write_table(numbered, tmp_path / "numbered.parquet")
    assert list(found(tmp_path / "numbered.parquet")) == ["0", "1"]
    binary = found(tmp_path / "binary.parquet")
    assert isinstance(binary.pop("none"), OSError)
    assert binary == expected
    listed = found(tmp_path / "list.txt")
    assert isinstance(listed.pop(str(tmp_path / "gone.png")), OSError)
    assert listed == expected
    tarred = found(tmp_path / "*.tar")
    assert list(tarred.values()) == contents
    assert list(tarred) == [f"{tmp_path}/set-0.tar#{path.name}" for path in samples[:5]]


def test_what_cannot_be_scored_is_said(cifar: Path, tmp_path: Path) -> None:
    def refused(source: Path, model: Path = cifar) -> str:
        # The same output for all: what was refused leaves nothing there that another job meets.
        output = str(tmp_path / "out")
        command = ["score", str(source), "--model", str(model), "--output", output]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1
        return " ".join(result.output.split())

    (tmp_path / "empty").mkdir()
    said = refused(tmp_path / "empty")
    assert "expected images, Parquet or tar files; there are none" in said
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    said = refused(tmp_path / "x.parquet")
    assert "expected a column of images (image, bytes, content, jpg, png: binary)" in said
    assert "got x (int64)" in said
    assert "there is no such file or folder" in refused(tmp_path / "phots")
    (tmp_path / "text.mar").write_text("x")
    assert "damaged, or not an archive" in refused(tmp_path, tmp_path / "text.mar")


def test_files_that_cannot_be_read_have_a_row(samples: list[Path], tmp_path: Path) -> None:
    """And do not end the job, nor are they waited for."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "loop").symlink_to(folder)
    (folder / "surrogate\udcff.png").touch()
    os.mkfifo(folder / "pipe.png")
    (folder / "a b#c?%20.png").write_bytes(samples[0].read_bytes())
    (folder / "bad.parquet").write_bytes(b"PAR1 and no more")
    pq.write_table(pa.table({"x": [1]}), folder / "metadata.parquet")
    with tarfile.open(folder / "cut.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for path in samples[:2]:
            archive.add(path, path.name)
    whole = (folder / "cut.tar").read_bytes()
    member = 512 + (samples[0].stat().st_size + 511) // 512 * 512
    (folder / "cut.tar").write_bytes(whole[: member + 600])  # within the second image
    (folder / "ended.tar").write_bytes(whole[:member])
    (folder / "header.tar").write_bytes(whole[:member] + b"x" * 512 + whole[member + 512 :])
    (folder / "huge.png").touch()
    os.truncate(folder / "huge.png", storage.MAX_BYTES + 1)
    parts = plan.make(str(folder), str(folder / "out"))
    storage.write(str(folder / "out" / "part-00000.parquet"), b"results are no input")
    assert plan.make(str(folder), str(folder / "out")) == parts
    items = chain.from_iterable(map(read, parts))
    found = {item.key.removeprefix(f"{folder}/"): item.data for item in items}
    assert found.pop("a b#c?%20.png") == samples[0].read_bytes()
    for name in ("cut", "ended", "header"):
        assert found.pop(f"{name}.tar#{samples[0].name}") == samples[0].read_bytes()
    assert set(found) == {
        *("bad.parquet", "cut.tar", "ended.tar", "header.tar", "huge.png"),
        *("metadata.parquet", "surrogate?.png"),
    }
    assert isinstance(found.pop("huge.png"), OSError)
    assert isinstance(found.pop("surrogate?.png"), FileNotFoundError)
    assert all(isinstance(data, ValueError) for data in found.values())
    with pytest.raises(OSError, match="expected a regular file"):
        storage.read(str(folder / "pipe.png"))


def test_a_folder_has_the_results_of_one_job(folder: Path, cifar: Path, tmp_path: Path) -> None:
    job = job_of(cifar, folder, tmp_path / "out")
    job.begin(5, resume=False)
    with pytest.raises(ValueError, match="continue with --resume"):
        job.begin(5, resume=False)
    other = replace(job, digest="0", version="2.0")
    with pytest.raises(
        ValueError, match=r"another job.* digest \(was .*, version \(was 1.0, is 2.0\)"
    ):
        other.begin(5, resume=True)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "part-0.csv").touch()
    foreign = replace(job, output=str(tmp_path / "foreign"))
    with pytest.raises(ValueError, match="expected an empty folder"):
        foreign.begin(5, resume=False)


def test_a_job_that_is_killed_goes_on(folder: Path, cifar: Path, tmp_path: Path) -> None:
    """At random moments; every image is scored once, as without a kill."""
    score(folder, cifar, tmp_path / "whole", "--part-size", "2")
    expected = rows(tmp_path / "whole")
    chance = random.Random(0)
    moments = 8 if LONG else 1
    output = tmp_path / "killed"
    for _ in range(moments):
        shutil.rmtree(output, ignore_errors=True)
        command = [*COMMAND, folder, "--model", cifar, "--output", output, "--part-size", "2"]
        process = psutil.Popen([*command, "--json"])
        time.sleep(chance.uniform(0.5, 4.0))
        children = process.children(recursive=True)
        process.kill()
        process.wait()
        _, left = psutil.wait_procs(children, 20)
        assert not left
        summary = score(folder, cifar, output, "--part-size", "2", "--resume")
        assert summary["images"] == 19
        assert rows(output) == expected


def test_ctrl_c_ends_a_job_at_once(cifar: Path, samples: list[Path], tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(10_000 * [str(path) for path in samples]))
    command = [*COMMAND, listed, "--model", cifar, "--output", tmp_path / "out", "--workers", "2"]
    process = psutil.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    while not list(tmp_path.glob("out/part-*.parquet")):
        assert process.poll() is None
        time.sleep(0.05)
    children = process.children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    _, left = psutil.wait_procs(children, 20)
    assert not left
    assert process.returncode == 1
    assert b"Aborted!" in said
    assert b"Traceback" not in said


def test_a_process_that_dies_is_replaced(folder: Path, cifar: Path, tmp_path: Path) -> None:
    job = job_of(cifar, folder, tmp_path / "out")
    parts = job.begin(2, resume=False)
    workers: list[worker.Worker] = []
    begun = worker.Worker.__init__

    def noted(self: worker.Worker, job: Job) -> None:
        begun(self, job)
        workers.append(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(worker.Worker, "__init__", noted)
        found = []
        for summary in local.run(job, enumerate(parts), 2):
            found.append(summary.images)
            if len(found) == 1:
                for each in workers:
                    for process in list(each._pool._processes.values()):
                        process.kill()
    assert sum(found) == 19
    assert len(rows(tmp_path / "out")) == 19
    assert not list(todo(parts, job.finished(len(parts))))


def deadly(part: Part) -> list[Any]:
    """In place of scoring: the process is killed by one of the images."""
    found = worker._scorer.score(read(part)) if worker._scorer else iter(())
    result = []
    for row in found:
        if row.key.endswith("04-frog.png"):
            os.kill(os.getpid(), signal.SIGKILL)
        result.append(row)
    return result


def test_an_image_that_kills_is_found(
    folder: Path, cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "ATTEMPTS", 1)
    monkeypatch.setattr(worker, "_score", deadly)
    for path in sorted((folder / "a").iterdir())[:4]:
        path.unlink()
    job = job_of(cifar, folder / "a", tmp_path / "out")
    for _ in local.run(job, enumerate(job.begin(100, resume=False)), 1):
        pass
    found = {Path(row["key"]).name: row for row in rows(tmp_path / "out")}
    assert len(found) == 5
    assert found.pop("04-frog.png")["error"] == worker.KILLED
    assert all(row["label"] for name, row in found.items() if name != "readme.txt")
