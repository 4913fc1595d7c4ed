"""KServe's own client, through the gateway, where it is installed.

Its requirements exclude ours of grpcio-tools, so it is run in another environment:
``FALCONET_KSERVE_PYTHON`` names the Python of one with ``pip install kserve``.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from falconet.serving.server import Server
from tests.supervised import supervised

PYTHON = "FALCONET_KSERVE_PYTHON"
TIMEOUT = 120

pytestmark = [
    pytest.mark.server,
    pytest.mark.needs("nginx"),
    pytest.mark.skipif(PYTHON not in os.environ, reason=f"{PYTHON} is not set"),
]

ASK = """
import asyncio, base64, json, sys
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

url, image = sys.argv[1], open(sys.argv[2], "rb").read()
KEY = {"X-Api-Key": "abc"}  # the client adds to the headers that it is given

async def ask():
    said = {}
    v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
    said["live"] = await v2.is_server_live(url)
    for _ in range(300):
        said["ready"] = await v2.is_server_ready(url)
        if said["ready"]:
            break
        await asyncio.sleep(0.2)
    text = base64.b64encode(image).decode()
    tensor = InferInput("image", [1], "BYTES", data=[text])
    found = await v2.infer(url, InferRequest("cifar10", [tensor]), "cifar10", dict(KEY), timeout=60)
    said["v2"] = next(each.data[0] for each in found.outputs if each.name == "label")
    tensor = InferInput("image", [1], "BYTES")
    import numpy
    tensor.set_data_from_numpy(numpy.array([image], dtype=object), binary_data=True)
    found = await v2.infer(url, InferRequest("cifar10", [tensor]), "cifar10", dict(KEY), timeout=60)
    said["binary"] = str(next(e.as_numpy() for e in found.outputs if e.name == "label").flat[0])
    v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
    body = {"instances": [{"b64": text}]}
    found = await v1.infer(url, body, model_name="cifar10", headers=dict(KEY), timeout=60)
    said["v1"] = found["predictions"][0]["label"]
    print(json.dumps(said))

asyncio.run(ask())
"""


def test_it_asks_by_both_protocols(server: Server, samples: list[Path], tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("abc me\n")
    with supervised(server, tmp_path / "keys", samples[0].read_bytes()) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        done = subprocess.run(
            [os.environ[PYTHON], "-c", ASK, url, str(samples[4])],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {"live": True, "ready": True, "v2": "frog", "binary": "frog", "v1": "frog"}
