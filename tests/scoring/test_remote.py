"""Object storage, and a Ray cluster."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
from pyarrow import fs

from benchmarks.scoring.ray_nodes import ray_nodes
from falconet.scoring import plan, storage
from falconet.serving.ports import free_ports
from tests.scoring.conftest import COMMAND, job_of


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty bucket of a server that speaks S3's protocol."""
    (port,) = free_ports(1)
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)
        where = f"127.0.0.1:{port}"
        system = fs.S3FileSystem(allow_bucket_creation=True, endpoint_override=where, scheme="http")
        system.create_dir("images")
        storage._system.cache_clear()
        yield "s3://images"
    finally:
        server.terminate()
        server.wait()


def test_images_and_results_may_be_on_object_storage(
    bucket: str, folder: Path, cifar: Path, tmp_path: Path
) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            storage.write(f"{bucket}/photos/{path.relative_to(folder)}", path.read_bytes())
    output = f"{bucket}/out"
    command = [*COMMAND, f"{bucket}/photos", "--model", str(cifar), "--output", output]
    done = subprocess.run([*command, "--part-size", "10", "--json"], stdout=PIPE, check=True)
    assert json.loads(done.stdout)["images"] == 19
    assert {"part-00000.parquet", "part-00001.parquet", plan.FILE_NAME} <= storage.names(output)
    job = job_of(cifar, f"{bucket}/photos", output)
    assert len(job.finished(2)) == 2
    assert sum(len(job.read(number)) for number in range(2)) == 19
    pattern = list(storage.glob(f"{bucket}/photos/**/0?-*.png"))
    assert len(pattern) == 10


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_cluster_of_two_nodes_scores_the_same(folder: Path, cifar: Path, tmp_path: Path) -> None:
    command = [*COMMAND, str(folder), "--model", str(cifar), "--part-size", "2", "--json"]
    with ray_nodes([1, 1]) as nodes:
        options = ("--output", str(tmp_path / "out"), "--address", nodes.address)
        subprocess.run([*command, *options], env=nodes.environment, check=True)
    subprocess.run([*command, "--output", str(tmp_path / "one")], check=True)
    names = sorted(path.name for path in (tmp_path / "one").glob("part-*.parquet"))
    assert len(names) == 10
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    summary = json.loads((tmp_path / "out" / "_summary.json").read_text())
    assert summary["images"] == 19
