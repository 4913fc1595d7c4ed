"""A worker's handler with TorchServe's own context and response encoder, without a server."""

import base64
import io
import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from ts.context import Context, RequestProcessor
from ts.protocol.otf_message_handler import create_predict_response

import falconet.handler.service
from falconet.handler import MODELS, THREADS, torchserve_entry
from falconet.handler.classifier import Classifier, Prediction, Rows
from falconet.handler.service import Service
from falconet.model.export import export
from falconet.model.spec import Spec
from falconet.model.weights import Weights
from falconet.native.data import Pixels
from falconet.native.decode import Encoded


def context_for(
    folder: Path, headers: list[dict[str, str]], batch_size: int = 16, **options: int
) -> Context:
    context = Context(
        "cifar10",
        str(folder),
        {"model": {"serializedFile": "model.pt"}},
        batch_size,
        None,
        "0.12.0",
        model_yaml_config={"maxWorkers": 1, "falconet": options},
    )
    context.request_processor = [RequestProcessor(header) for header in headers]
    return context


@pytest.fixture(autouse=True)
def process_settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A worker owns its process; here its settings have to be put back."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def ask(
    service: Service, batch: list[dict[str, Any]], folder: Path, headers: Any = None
) -> list[tuple[int, dict[str, Any]]]:
    """Status and body of each request, after TorchServe's encoder has accepted them."""
    context = context_for(folder, headers or [{}] * len(batch))
    answers = service.handle(batch, context)
    ids = {i: f"id-{i}" for i in range(len(batch))}
    assert create_predict_response(answers, ids, "Prediction success", 200, context)
    found = []
    for i, answer in enumerate(answers):
        status, phrase = context.get_response_status(i)
        assert (phrase or "").isascii()
        assert context.get_response_content_type(i) == "application/json"
        found.append((status, json.loads(answer)))
    return found


@pytest.fixture(scope="module")
def service(exported: Path) -> Service:
    return Service(context_for(exported, [], max_pixels=1_000_000, threads=2))


def test_bad_images_do_not_touch_their_neighbours(
    service: Service, exported: Path, samples: list[Path], images: Path
) -> None:
    batch: list[dict[str, Any]] = [{"body": bytearray(path.read_bytes())} for path in samples]
    alone = [ask(service, [request], exported)[0] for request in batch]
    jpeg = (images / "ship.jpg").read_bytes()
    bad = {
        2: ({"body": bytearray(jpeg[: len(jpeg) // 2])}, 422),
        5: ({"image": bytearray(b"just text")}, 415),
        6: ({}, 400),
        15: ({"body": bytearray(jpeg.replace(b"\x01\xe0\x02\x80", b"\x4e\x20\x4e\x20"))}, 413),
    }
    for i, (request, _) in bad.items():
        batch[i] = request

    answers = ask(service, batch, exported)
    for i, (status, body) in enumerate(answers):
        if i in bad:
            assert status == bad[i][1] == body["error"]["code"]
            assert body["success"] is False
            assert body["error"]["message"]
        else:
            assert status == 200
            assert body["predictions"][0]["label"] == alone[i][1]["predictions"][0]["label"]
            assert body["predictions"][0]["probability"] == pytest.approx(
                alone[i][1]["predictions"][0]["probability"], abs=1e-4
            )


def test_a_batch_of_bad_images_only(service: Service, exported: Path) -> None:
    answers = ask(service, [{"body": b"a"}, {}], exported)
    assert [status for status, _ in answers] == [415, 400]


def test_answer_format(service: Service, exported: Path, samples: list[Path]) -> None:
    ((status, body),) = ask(service, [{"data": samples[4].read_bytes()}], exported)
    assert status == 200
    assert body.keys() == {"success", "predictions"}
    assert body["success"] is True
    assert len(body["predictions"]) == 10
    assert all(entry.keys() == {"label", "probability"} for entry in body["predictions"])
    assert body["predictions"][0]["label"] == "frog"


def test_the_spec_names_the_form_of_an_answer(
    service: Service, exported: Path, samples: list[Path], tmp_path: Path
) -> None:
    """Of an image alone; protocols have their own, by which a deploy asks."""
    file = samples[4].read_bytes()
    ((_, ours),) = ask(service, [{"body": file}], exported)
    for form in ("torchserve", "class_number"):
        folder = tmp_path / form
        shutil.copytree(exported, folder)
        spec = Spec.load(folder)
        replace(spec, answer=form, top_k=3).save(folder)
        other = Service(context_for(folder, [], threads=2))
        message = {"body": kserve(file)}
        (status, found), (_, instances) = ask(other, [{"body": file}, message], folder)
        assert status == 200
        listed = ours["predictions"][:3]
        if form == "class_number":
            assert found == spec.classes.index(listed[0]["label"])
        else:
            assert list(found) == [each["label"] for each in listed]
            expected = [each["probability"] for each in listed]
            assert list(found.values()) == pytest.approx(expected, abs=1e-2)
        assert instances["predictions"][0]["label"] == listed[0]["label"]
        ((status, refused),) = ask(other, [{"body": b"no image"}], folder)
        assert (status, refused["error"]["code"]) == (415, 415)


def kserve(*images: bytes) -> bytes:
    instances = [{"b64": base64.b64encode(image).decode()} for image in images]
    return json.dumps({"instances": instances}).encode()


def test_kserve_requests_have_an_entry_per_instance(
    service: Service, exported: Path, samples: list[Path]
) -> None:
    frog, truck, dog = (samples[i].read_bytes() for i in (4, 11, 12))
    batch = [{"body": kserve(frog, truck)}, {"body": dog}, {"body": kserve(*[dog] * 20)}]
    (_, first), (_, second), (_, third) = ask(service, batch, exported)
    assert [entry["label"] for entry in first["predictions"]] == ["frog", "truck"]
    assert first["predictions"][0]["top"][0]["label"] == "frog"
    assert len(first["predictions"][0]["top"]) == 10
    assert second["predictions"][0]["label"] == "dog"
    assert [entry["label"] for entry in third["predictions"]] == ["dog"] * 20


def open_inference(datatype: str, shape: list[int], binary: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a v2 request with binary data."""
    parameters = {"binary_data_size": len(binary)}
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "parameters": parameters}
    message = json.dumps({"id": "7", "inputs": [tensor]}).encode()
    return message + binary, {"Inference-Header-Content-Length": str(len(message))}


def test_open_inference_with_files_and_with_pixels(
    service: Service, exported: Path, samples: list[Path]
) -> None:
    files = [samples[i].read_bytes() for i in (4, 11)]
    with_lengths = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    pixels = np.stack([np.asarray(Image.open(samples[i]).convert("RGB")) for i in (4, 11)])
    plain = {"body": files[0]}, {}
    as_files = open_inference("BYTES", [2], with_lengths)
    as_pixels = open_inference("UINT8", [2, 32, 32, 3], pixels.tobytes())
    broken = open_inference("BYTES", [1], b"\4\0\0\0text")
    batch = [plain[0], *({"body": bytearray(body)} for body, _ in (as_files, as_pixels, broken))]
    headers = [{}, as_files[1], as_pixels[1], broken[1]]
    first, second, third, fourth = ask(service, batch, exported, headers)
    assert [status for status, _ in (first, second, third, fourth)] == [200, 200, 200, 415]
    assert second[1] == third[1]
    assert second[1]["model_name"] == "cifar10"
    assert second[1]["id"] == "7"
    label, probability = second[1]["outputs"]
    assert label["shape"] == probability["shape"] == [2, 10]
    assert [label["data"][i] for i in (0, 10)] == ["frog", "truck"]
    best = first[1]["predictions"]
    assert label["data"][:10] == [entry["label"] for entry in best]
    assert probability["data"][:10] == pytest.approx(
        [entry["probability"] for entry in best], abs=1e-4
    )
    assert fourth[1].keys() == {"error"}
    assert fourth[1]["error"].startswith("inputs[0][0]: expected an image")


def test_pixels_count_for_the_limit(service: Service, exported: Path) -> None:
    body, headers = open_inference("UINT8", [2, 600, 1000, 3], bytes(3_600_000))
    ((status, answer),) = ask(service, [{"body": body}], exported, [headers])
    assert status == 413
    assert answer["error"].startswith("inputs[0][1]: expected an image of at most 400000 pixels")


def test_a_bad_instance_is_named(service: Service, exported: Path, samples: list[Path]) -> None:
    ((status, body),) = ask(service, [{"body": kserve(samples[0].read_bytes(), b"text")}], exported)
    assert status == 415
    assert body["error"]["message"].startswith("instances[1]: expected an image")


def test_instances_share_the_limit_of_pixels(
    service: Service, exported: Path, images: Path
) -> None:
    ship = (images / "ship.jpg").read_bytes()  # 640 x 480
    batch = [{"body": kserve(*[ship] * 3)}, {"body": kserve(*[ship] * 4)}]
    (status, _), (refused, body) = ask(service, batch, exported)
    assert (status, refused) == (200, 413)
    assert body["error"]["message"].startswith("instances[3]: expected an image of at most 78400")


def test_explanations_are_refused_for_their_request_only(
    service: Service, exported: Path, samples: list[Path]
) -> None:
    request = {"body": samples[0].read_bytes()}
    headers = [{"explain": "True"}, {"describe": "True"}]
    (status, body), (other, _) = ask(service, [request, request], exported, headers)
    assert (status, other) == (501, 200)
    assert "explanations are not available, as the archive" in body["error"]["message"]


def test_a_image_that_breaks_the_batch_fails_alone(
    service: Service,
    exported: Path,
    samples: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    predict = service.classifier.predict
    dark = service.classifier.batch(1)
    service.classifier.prepare([np.zeros((9, 9, 3), np.uint8)], dark)

    def fail_on_dark(batch: np.ndarray) -> list[list[Prediction]]:
        if any(np.array_equal(row, dark[0]) for row in batch):
            raise MemoryError("too much for me")
        return predict(batch)

    small = {"body": samples[4].read_bytes()}
    black = io.BytesIO()
    Image.new("RGB", (40, 30)).save(black, "PNG")
    bad = {"body": black.getvalue()}
    with monkeypatch.context() as patch:
        patch.setattr(service.classifier, "predict", fail_on_dark)
        headers = [{"X-Request-Id": str(i)} for i in range(4)]
        answers = ask(service, [small, bad, small, {"body": b"text"}], exported, headers)
    assert [status for status, _ in answers] == [200, 500, 200, 415]
    assert [each for each in caplog.messages if each.startswith("request ")] == ["request 1 failed"]
    assert answers[0][1]["predictions"][0]["label"] == "frog"
    assert answers[1][1]["error"]["message"] == (
        "a request could not be predicted; the server's model log says why"
    )
    assert ask(service, [bad], exported)[0][0] == 200


def test_a_request_that_breaks_the_decoder_fails_alone(
    service: Service, exported: Path, samples: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = Encoded.decode

    def no_memory(image: Encoded, least: tuple[int, int] | None = None) -> Pixels:
        if image.width > 32:
            raise MemoryError
        return decode(image, least)

    small = {"body": samples[4].read_bytes()}
    large = {"body": (samples[0].parent.parent / "ship.jpg").read_bytes()}
    monkeypatch.setattr(Encoded, "decode", no_memory)
    answers = ask(service, [large, small], exported)
    assert [status for status, _ in answers] == [500, 200]


@pytest.mark.parametrize(
    ("widths", "together", "patience"),
    [([400, 400], (400, 400), 30), ([400, 900], (400, 900), 30), ([900] * 4, (900,), 0.05)],
)
def test_of_large_images_one_is_held_at_a_time(
    service: Service,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    widths: list[int],
    together: tuple[int, ...],
    patience: float,
) -> None:
    """From before it is decoded till it lies in the batch.

    Large is more than a thread's share of the million pixels allowed. Each image waits in the
    decoder for another one, for ``patience`` seconds.
    """
    decode, prepare = service.classifier.decode, service.classifier.prepare
    change = threading.Condition()
    held: list[int] = []
    most: list[int] = []

    def count_and_decode(image: Encoded) -> Pixels:
        nonlocal most
        with change:
            held.append(image.width)
            most = max(most, sorted(held), key=len)
            change.notify_all()
            change.wait_for(lambda: len(held) > 1, patience)
        return decode(image)

    def prepare_and_count(pixels: list[Pixels], row: Rows) -> None:
        time.sleep(0.05)  # long enough for another thread to come in between
        prepare(pixels, row)
        with change:
            held.remove(pixels[0].shape[1])

    monkeypatch.setattr(service.classifier, "decode", count_and_decode)
    monkeypatch.setattr(service.classifier, "prepare", prepare_and_count)
    batch = []
    for width in widths:
        file = io.BytesIO()
        Image.new("RGB", (width, 800)).save(file, "JPEG")
        batch.append({"body": file.getvalue()})
    answers = ask(service, batch, exported)
    assert [status for status, _ in answers] == [200] * len(widths)
    assert tuple(most) == together


def test_images_are_decoded_side_by_side(
    service: Service, exported: Path, samples: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have to be in the decoder at the same time to come out of it."""
    decode = service.classifier.decode
    together = threading.Barrier(2, timeout=30)

    def meet(image: Encoded) -> Pixels:
        together.wait()
        return decode(image)

    monkeypatch.setattr(service.classifier, "decode", meet)
    batch = [{"body": samples[i].read_bytes()} for i in (4, 11)]
    answers = ask(service, batch, exported)
    assert [body["predictions"][0]["label"] for _, body in answers] == ["frog", "truck"]


def test_a_image_too_thin_to_resize_is_refused_alone(
    small_weights: Weights, tmp_path: Path
) -> None:
    """A few hundred bytes, 70,000 pixels: resized in proportion, 18 million long."""
    export(replace(small_weights, spec=replace(small_weights.spec, resize=256)), tmp_path)
    service = Service(context_for(tmp_path, [], batch_size=2))
    file = io.BytesIO()
    Image.new("1", (70_000, 1)).save(file, "PNG")
    good = io.BytesIO()
    Image.new("RGB", (300, 200)).save(good, "PNG")
    answers = ask(service, [{"body": good.getvalue()}, {"body": file.getvalue()}], tmp_path)
    assert [status for status, _ in answers] == [200, 422]
    assert "70000" in answers[1][1]["error"]["message"]


@pytest.mark.parametrize(
    ("workers", "environment", "threads"),
    [
        *((3, {}, 2), (30, {}, 1), (3, {THREADS: "5"}, 2), (None, {THREADS: "5"}, 5)),
        *((None, {}, 1), (1, {MODELS: "2"}, 4), (3, {MODELS: "2"}, 1), (9, {MODELS: "2"}, 1)),
    ],
)
def test_threads_are_shared_out_among_workers(
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int | None,
    environment: dict[str, str],
    threads: int,
) -> None:
    """As many as an archive says, of what is its model's, or else as the profile does."""
    monkeypatch.setattr(falconet.handler.service, "available_cores", lambda: 8)
    monkeypatch.setattr(Classifier, "warm_up", lambda *_: None)  # which takes a second
    for name in (THREADS, MODELS):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    context = context_for(exported, [])
    context.model_yaml_config["maxWorkers"] = workers
    service = Service(context)
    assert service.threads == threads
    # Images are shared out among the service's own threads.
    assert service.classifier.preprocess.threads == 1
    assert torch.get_num_threads() == threads


def test_the_archives_entry_loads_then_answers(
    exported: Path, samples: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchserve_entry, "_service", None)
    context = context_for(exported, [{}], batch_size=1)
    assert torchserve_entry.handle(None, context) is None
    answers = torchserve_entry.handle([{"body": samples[0].read_bytes()}], context)
    assert answers is not None
    assert json.loads(answers[0])["predictions"][0]["label"] == "cat"
