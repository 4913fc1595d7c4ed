"""Whatever a request holds, it is answered, and its neighbour as if it were alone."""

import base64
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from ts.context import Context, RequestProcessor
from ts.protocol.otf_message_handler import create_predict_response

from falconet.handler.service import Service
from falconet.model.export import export
from falconet.model.weights import Weights
from tests.lengths import LONG


def saved(format: str) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


GOOD = saved("JPEG")
FILES = [GOOD, *(saved(format) for format in ("PNG", "GIF", "BMP", "WEBP"))]
B64 = base64.b64encode(GOOD).decode()
FORM = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + GOOD + b"\r\n--b--\r\n"
V1 = json.dumps({"instances": [{"b64": B64}]}).encode()
TENSOR = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [B64]}
V2 = json.dumps({"id": "1", "inputs": [TENSOR]}).encode()

# Surrogates among them, which JSON can say.
text = st.text(st.characters(exclude_categories=()), max_size=8)
names = st.sampled_from(
    [
        "instances",
        "inputs",
        "b64",
        "image_bytes",
        "data",
        "shape",
        "datatype",
        "parameters",
        "binary_data_size",
        "id",
    ]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**4000, -1, 0, 1, 3, float("nan"), float("inf"), "BYTES", "UINT8", B64]),
    st.floats(),
    text,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(names, text), inner, max_size=4)
    ),
    max_leaves=12,
)
messages = st.dictionaries(names, values, max_size=4)
tensors = st.fixed_dictionaries(
    {"datatype": st.sampled_from(["BYTES", "UINT8", 1])},
    optional={
        "shape": st.one_of(st.lists(st.integers(-1, 4), max_size=4), values),
        "data": values,
        "parameters": values,
    },
)
known = st.one_of(
    messages,
    st.builds(lambda inputs: {"inputs": inputs}, st.lists(tensors, max_size=2)),
    st.builds(lambda instances: {"instances": instances}, st.lists(values, max_size=3)),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good body with some of its bytes changed, left out or said again."""
    body = bytearray(draw(st.sampled_from([*FILES, FORM, V1, V2, gzip.compress(GOOD)])))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = start + draw(st.integers(0, 40))
        body[start:end] = draw(
            st.one_of(st.binary(max_size=4), st.just(bytes(body[start:end]) * 3))
        )
    return bytes(body)


@st.composite
def json_bodies(draw: st.DrawFn) -> bytes:
    made = json.dumps(draw(known), ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    return made[: draw(st.one_of(st.none(), st.integers(0, len(made))))]


bodies = st.one_of(
    damaged(), json_bodies(), st.binary(max_size=50), st.just(b'{"a":' + b"[" * 100_000), known
)
fields = st.one_of(
    st.builds(lambda body: {"body": body}, bodies),
    st.dictionaries(
        st.one_of(st.sampled_from(["image", "data", "body", "file"]), text),
        st.one_of(bodies, scalars),
        max_size=3,
    ),
)
headers = st.dictionaries(
    st.sampled_from(
        [
            *("X-Form-Type", "Content-Encoding", "Inference-Header-Content-Length"),
            *("explain", "X-Explain-Class", "traceparent", "X-Request-Id"),
        ]
    ),
    st.one_of(
        st.sampled_from(["multipart/form-data; boundary=b", "gzip", "9" * 5000, "20", "True"]),
        text,
        messages,
    ),
    max_size=3,
)


class Counts:
    """In place of what tells TorchServe."""

    def __init__(self) -> None:
        self.begun = self.done = 0

    def began(self, requests: int) -> None:
        self.begun += requests

    def took(self, stage: str, seconds: float) -> None:
        pass

    def answered(
        self, statuses: Sequence[int], images: int, seconds: float, explained: int
    ) -> None:
        self.done += len(statuses)


def context_for(folder: Path, headers: Sequence[Any]) -> Context:
    manifest = {"model": {"serializedFile": "model.pt"}}
    options = {
        "maxWorkers": 1,
        "falconet": {"threads": 1, "max_pixels": 100_000, "explanations": True},
    }
    context = Context("m", str(folder), manifest, 4, None, "0.12.0", model_yaml_config=options)
    context.request_processor = [RequestProcessor(each) for each in headers]
    return context


@pytest.fixture(scope="module")
def service(
    small_weights: Weights, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, Path]]:
    folder = tmp_path_factory.mktemp("service")
    export(small_weights, folder)
    limit, threads = Image.MAX_IMAGE_PIXELS, torch.get_num_threads()
    made = Service(context_for(folder, []))
    made._metrics = Counts()
    yield made, folder
    Image.MAX_IMAGE_PIXELS = limit
    torch.set_num_threads(threads)


def ask(service: tuple[Service, Path], batch: list[Any], headers: list[Any]) -> list[Any]:
    """Status and body of each request, after TorchServe's encoder has accepted them."""
    context = context_for(service[1], headers)
    answers = service[0].handle(batch, context)
    ids = {i: f"id-{i}" for i in range(len(batch))}
    assert create_predict_response(answers, ids, "Prediction success", 200, context)
    statuses = [context.get_response_status(i)[0] for i in range(len(batch))]
    return [
        (status, json.loads(each.decode(), parse_constant=lambda name: pytest.fail(name)))
        for status, each in zip(statuses, answers, strict=True)
    ]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@settings(max_examples=2000 if LONG else 60)  # each is several images through a network
@given(st.lists(st.tuples(fields, headers), min_size=1, max_size=3))
def test_any_request_is_answered_and_hurts_no_other(
    service: tuple[Service, Path], requests: list[tuple[Any, Any]]
) -> None:
    ((_, alone),) = ask(service, [{"body": GOOD}], [{}])
    batch = [*(fields for fields, _ in requests), {"body": GOOD}]
    *others, (status, good) = ask(service, batch, [*(headers for _, headers in requests), {}])
    assert status == 200
    assert [each["label"] for each in good["predictions"]] == [
        each["label"] for each in alone["predictions"]
    ]
    assert {status for status, _ in others} <= {200, 400, 413, 415, 422, 503}, others
    counts: Any = service[0]._metrics
    assert counts.begun == counts.done


def test_what_fails_in_answering_is_a_request_s_own(
    service: tuple[Service, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose answer is no number, and a mistake of ours where nobody expects it."""
    predict = service[0].classifier.network.__call__
    first: list[torch.Tensor] = []

    def broken(rows: torch.Tensor) -> torch.Tensor:
        logits = predict(rows).clone()
        means = rows.mean((1, 2, 3))
        first.append(means[0])
        logits[(means - first[0]).abs() < 1e-6] = float("nan")
        return logits

    monkeypatch.setattr(service[0].classifier, "network", broken, raising=True)
    found = ask(service, [{"body": GOOD}, {"body": FILES[1][:200]}, {"body": FILES[2]}], [{}] * 3)
    assert [status for status, _ in found] == [500, 422, 200]
    monkeypatch.undo()
    monkeypatch.setattr(service[0], "_outcomes", lambda *_: 1 / 0)
    found = ask(service, [{"body": GOOD}], [{}])
    assert [status for status, _ in found] == [500]
    assert "log says why" in found[0][1]["error"]["message"]
    counts: Any = service[0]._metrics
    assert counts.begun == counts.done
