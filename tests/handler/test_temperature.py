"""A spec's temperature: it divides the logits behind every probability, and changes no label."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from falconet.cli.predict import predict
from falconet.cli.trial import try_out
from falconet.handler import explainer
from falconet.handler.classifier import Classifier
from falconet.handler.service import Service
from falconet.model.archive import Serving
from falconet.model.spec import Spec
from falconet.model.weights import Weights
from falconet.native.decode import decode
from tests.handler.test_service import ask, context_for, kserve, open_inference

TEMPERATURE = 2.5


@pytest.fixture(scope="module")
def warm(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported model with a temperature."""
    folder = tmp_path_factory.mktemp("warm") / "model"
    shutil.copytree(exported, folder)
    replace(Spec.load(folder), temperature=TEMPERATURE).save(folder)
    return folder


@pytest.fixture(scope="module", params=["falconet", "torchserve"])
def service(warm: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Service, Path]]:
    """In float32, with each form of an answer that has probabilities."""
    folder = warm.parent / request.param
    shutil.copytree(warm, folder)
    replace(Spec.load(folder), answer=request.param).save(folder)
    limit, threads = Image.MAX_IMAGE_PIXELS, torch.get_num_threads()
    options: Any = {"precision": "float32", "threads": 1, "explanations": True}
    yield Service(context_for(folder, [], **options)), folder
    Image.MAX_IMAGE_PIXELS = limit
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def logits(exported: Path, samples: list[Path]) -> Tensor:
    """Of two images, by the TorchScript file itself."""
    pixels = [decode(samples[i].read_bytes(), 10**6) for i in (4, 11)]
    x = torch.from_numpy(Spec.load(exported).preprocessor(threads=1)(pixels))
    with torch.inference_mode():
        found: Tensor = torch.jit.load(str(exported / "model.pt"))(x)
    return found


def test_every_protocol_has_probabilities_of_divided_logits(
    service: tuple[Service, Path], samples: list[Path], logits: Tensor
) -> None:
    handler, folder = service
    spec = Spec.load(folder)
    files = [samples[i].read_bytes() for i in (4, 11)]
    v2, v2_headers = open_inference(
        "BYTES", [2], b"".join(len(file).to_bytes(4, "little") + file for file in files)
    )
    batch = [{"body": files[0]}, {"body": kserve(*files)}, {"body": bytearray(v2)}]
    (_, alone), (_, v1), (_, both) = ask(handler, batch, folder, [{}, {}, v2_headers])
    if spec.answer == "falconet":
        alone = {each["label"]: each["probability"] for each in alone["predictions"]}
    labels, numbers = (output["data"] for output in both["outputs"])
    listed = [
        {each["label"]: each["probability"] for each in image["top"]} for image in v1["predictions"]
    ]
    found = [
        (alone, 0),
        (listed[0], 0),
        (listed[1], 1),
        (dict(zip(labels[:10], numbers[:10], strict=True)), 0),
        (dict(zip(labels[10:], numbers[10:], strict=True)), 1),
    ]
    expected = (logits / TEMPERATURE).softmax(1)
    assert (expected.amax(1) < logits.softmax(1).amax(1) - 1e-3).all()
    for got, image in found:
        order = logits[image].argsort(descending=True).tolist()
        assert list(got) == [spec.classes[i] for i in order]
        # Six digits are sent; the layers' sums are in another order.
        assert list(got.values()) == pytest.approx(expected[image, order].tolist(), abs=2e-5)


def test_an_explanation_has_it_as_well(
    service: tuple[Service, Path],
    samples: list[Path],
    logits: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(explainer, "SECONDS", 1000.0)
    handler, folder = service
    ((status, found),) = ask(
        handler, [{"body": samples[4].read_bytes()}], folder, [{"explain": "True"}]
    )
    assert status == 200
    expected = (logits[0] / TEMPERATURE).softmax(0)
    assert found["label"] == Spec.load(folder).classes[int(logits[0].argmax())]
    assert found["probability"] == pytest.approx(float(expected.max()), abs=2e-6)


def test_the_command_has_it_as_well(warm: Path, samples: list[Path], logits: Tensor) -> None:
    words = [str(samples[4]), "--model", str(warm), "--json"]
    found = json.loads(CliRunner().invoke(predict, words).stdout)["predictions"][0]
    expected = (logits[0] / TEMPERATURE).softmax(0).max()
    # It may compute in bfloat16.
    assert found["probability"] == pytest.approx(float(expected), abs=0.02)
    assert found["label"] == "frog"


def test_an_archive_carries_it_in_its_samples(warm: Path, samples: list[Path]) -> None:
    """By which a deploy compares responses; an archive's trial has them from the handler."""
    weights = Weights.load()
    trial = try_out(warm, Serving(precision="float32"), weights.samples[:4])
    x = torch.from_numpy(weights.spec.preprocessor()(weights.samples[:4]))
    with torch.inference_mode():
        expected = (weights.network(x) / TEMPERATURE).softmax(1).amax(1)
    found = [known.probability for known in trial.known]
    assert found == pytest.approx(expected.tolist(), abs=1e-4)


class Given(nn.Module):
    """Returns the same logits for every image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(x.shape[0], self.logits.shape[0])


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0, 3.7, 100.0])
def test_no_temperature_changes_a_label(tmp_path: Path, temperature: float) -> None:
    """Not even where two classes then have the same probability."""
    random = np.random.default_rng(0)
    above = np.float32(8)
    numbers = [above]
    for _ in range(5):  # as close as float32 has them
        numbers.append(np.nextafter(numbers[-1], np.float32(0)))
    numbers += [np.float32(-500), np.float32(-501), np.float32(0)]
    logits = torch.from_numpy(random.permutation(np.array(numbers, np.float32)))
    classes = tuple(f"class {i}" for i in range(len(logits)))
    torch.jit.script(Given(logits)).save(str(tmp_path / "model.pt"))
    Spec((4, 4), classes, top_k=len(classes), temperature=temperature).save(tmp_path)
    (found,) = Classifier(tmp_path, precision="float32").classify([np.zeros((4, 4, 3), np.uint8)])
    assert [each.number for each in found] == logits.argsort(descending=True).tolist()
    expected = (logits / temperature).softmax(0)
    for each in found:
        assert each.probability == pytest.approx(float(expected[each.number]), rel=1e-6)
    if temperature == 100:
        assert found[0].probability == found[1].probability
