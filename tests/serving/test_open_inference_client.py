"""The Open Inference Protocol as the client of Triton's makers speaks it, through the gateway."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from falconet.native import __version__
from falconet.serving.gateway import Gateway
from falconet.serving.server import Server
from tests.described_gateway import described_gateway

triton = pytest.importorskip("tritonclient.http")
utils = pytest.importorskip("tritonclient.utils")

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx")]

KEY = {"X-Api-Key": "abc"}
TIMEOUT = 60


@pytest.fixture(scope="module")
def gateway(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with described_gateway(server, tmp_path_factory.mktemp("gateway")) as started:
        yield started


def test_a_client_asks_what_there_is_and_then_for_predictions(
    gateway: Gateway, samples: list[Path]
) -> None:
    files = [samples[4].read_bytes(), samples[0].read_bytes()]
    with triton.InferenceServerClient(f"127.0.0.1:{gateway.port}") as client:
        assert client.is_server_live()
        assert not client.is_server_ready(), "nobody has looked at the server yet"
        assert not client.is_model_ready("cifar10", headers=dict(KEY))
        gateway.set_ready(True)
        assert client.is_server_ready()
        for version, expected in (("", True), ("1.0", True), ("2.0", False)):
            assert client.is_model_ready("cifar10", version, headers=dict(KEY)) == expected
        assert not client.is_model_ready("pets", headers=dict(KEY))
        assert client.get_server_metadata() == {
            "name": "falconet",
            "version": __version__,
            "extensions": ["binary_tensor_data"],
        }
        for version in ("", "1.0"):
            found = client.get_model_metadata("cifar10", version, headers=dict(KEY))
            assert (found["name"], found["versions"]) == ("cifar10", ["1.0"])
            (described,) = found["inputs"]
            assert (described["datatype"], described["shape"]) == ("BYTES", [-1])
            encoded = triton.InferInput(described["name"], [2], described["datatype"])
            encoded.set_data_from_numpy(np.array(files, dtype=object))
            answer = client.infer("cifar10", [encoded], version, request_id="7", headers=dict(KEY))
            shapes = {each["name"]: each["shape"][1:] for each in found["outputs"]}
            assert shapes == {"label": [10], "probability": [10]}
            labels = answer.as_numpy("label")
            assert labels.shape == answer.as_numpy("probability").shape == (2, 10)
            assert [str(each) for each in labels[:, 0]] == ["frog", "cat"]
            assert answer.get_response()["id"] == "7"
        with Image.open(samples[4]) as image:
            array = np.asarray(image.convert("RGB"))[None]
        pixels = triton.InferInput("image", list(array.shape), "UINT8")
        for binary in (True, False):
            pixels.set_data_from_numpy(array, binary_data=binary)
            answer = client.infer("cifar10", [pixels], headers=dict(KEY))
            assert answer.as_numpy("label")[0][0] == "frog"
        with pytest.raises(utils.InferenceServerException, match="expected a known API key"):
            client.infer("cifar10", [pixels])


def test_models_are_told_only_to_those_with_a_key(gateway: Gateway) -> None:
    url = f"http://127.0.0.1:{gateway.port}/v2/models"
    for path in ("cifar10", "cifar10/ready", "cifar10/versions/1.0", "cifar10/versions/1.0/ready"):
        assert requests.get(f"{url}/{path}", timeout=TIMEOUT).status_code == 401
        assert requests.get(f"{url}/{path}", headers=KEY, timeout=TIMEOUT).status_code in (200, 503)
    for path in ("pets", "cifar10/versions/9.9", "cifar10/versions/9.9/ready", "cifar10/1.0"):
        assert requests.get(f"{url}/{path}", headers=KEY, timeout=TIMEOUT).status_code == 404
