"""Explanations: the method beside captum's, the service, and what is sent."""

import base64
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from falconet.handler import explainer, gradients
from falconet.handler.classifier import Classifier
from falconet.handler.errors import RequestError
from falconet.handler.explainer import Explainer
from falconet.handler.explanation import Explanation
from falconet.handler.gradients import integrated_gradients
from falconet.handler.service import Service
from falconet.model.spec import Spec
from falconet.native.decode import decode
from tests.handler.test_service import ask, context_for, kserve


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine may stand still during a test, and threads of torch wait for each other."""
    monkeypatch.setattr(explainer, "SECONDS", 1000.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network(exported: Path) -> Any:
    return torch.jit.load(str(exported / "model.pt")).eval()


@pytest.fixture(scope="module")
def frog(exported: Path, samples: list[Path]) -> Tensor:
    """As the network takes it."""
    pixels = decode(samples[4].read_bytes(), 10**6)
    return torch.from_numpy(Spec.load(exported).preprocessor(threads=1)([pixels]))


@pytest.mark.parametrize("class_number", [6, 3])
def test_attributions_are_those_of_captum(network: Any, frog: Tensor, class_number: int) -> None:
    from captum.attr import IntegratedGradients

    ours, steps = integrated_gradients(
        lambda points: network(points)[:, class_number], frog, math.inf
    )
    assert steps == gradients.MAX_STEPS
    theirs = IntegratedGradients(network).attribute(
        frog, target=class_number, n_steps=steps, method="gausslegendre"
    )
    torch.testing.assert_close(ours, theirs.float(), rtol=1e-3, atol=1e-4)
    assert ours.abs().max() > 0.01


def test_attributions_add_up_to_the_score(network: Any, frog: Tensor) -> None:
    attributions, _ = integrated_gradients(lambda points: network(points)[:, 6], frog, math.inf)
    with torch.no_grad():
        expected = float(network(frog)[0, 6] - network(torch.zeros_like(frog))[0, 6])
    assert abs(expected) > 1
    assert float(attributions.sum()) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("seconds", "steps"), [(1000, gradients.MAX_STEPS), (14.5, 11)])
def test_as_many_steps_as_fit(monkeypatch: pytest.MonkeyPatch, seconds: float, steps: int) -> None:
    """Of a network that takes a second for each."""
    asked = clock(monkeypatch)
    image = torch.full((1, 1, 2, 2), 3.0)
    found = integrated_gradients(asked, image, seconds)
    assert found[1] == steps
    # The square's gradient is a line, of which the rule makes no error.
    torch.testing.assert_close(found[0], torch.full((1, 1, 2, 2), 9.0))
    assert len(asked.points) == steps, "none is computed twice"
    assert asked.points[0] == 1.5


def clock(monkeypatch: pytest.MonkeyPatch, slower: float = 0.0) -> Any:
    """A score, the sum of squares, that takes a second, and each time so many more."""

    class Score:
        def __init__(self) -> None:
            self.now, self.last, self.points = 0.0, 0.0, []

        def __call__(self, points: Tensor) -> Tensor:
            self.points.append(float(points.detach().max()))
            self.last = 1 + slower * (len(self.points) - 1)
            self.now += self.last
            return (points**2).sum((1, 2, 3))

    score = Score()
    monkeypatch.setattr(gradients, "perf_counter", lambda: score.now)
    return score


def test_what_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the first step promises more."""
    for slower, seconds in ((0.0, 5.0), (1.0, 20.0)):
        asked = clock(monkeypatch, slower)
        with pytest.raises(RequestError, match="at least 9 passes") as caught:
            integrated_gradients(asked, torch.ones(1, 3, 2, 2), seconds)
        assert caught.value.status == 503
        assert seconds < asked.now <= seconds + asked.last, "it ends with the step that was late"


class InPlace(nn.Module):
    """Two classes: how bright an image is, and how dark; changes what it is given."""

    def forward(self, images: Tensor) -> Tensor:
        bright = images.mul_(2.0).mean((1, 2, 3))
        return torch.stack([bright, -bright], 1)


def explained(folder: Path, pixels: np.ndarray, **fields: Any) -> Explanation:
    """The best class of an image, by a network that may have any output and channels."""
    model = torch.jit.script(InPlace())
    if fields.get("output") == "probabilities":
        model = torch.jit.script(nn.Sequential(InPlace(), nn.Softmax(1)))
    model.save(str(folder / "model.pt"))
    Spec((4, 6), ("bright", "dark"), **fields).save(folder)
    return Explainer(folder / "model.pt", Classifier(folder, precision="float32")).explain(
        pixels, None, math.inf
    )


@pytest.mark.parametrize("output", ["logits", "sigmoid", "probabilities"])
def test_the_score_is_what_the_network_returns(tmp_path: Path, output: str) -> None:
    pixels = np.full((4, 6, 3), 204, np.uint8)
    pixels[0, 0] = 0
    found = explained(tmp_path, pixels, output=output, mean=(0.4,) * 3, std=(0.5,) * 3)
    assert found.label == "bright"
    score = 2 * (23 - 1) * 0.8 / 24
    probability = {"sigmoid": 1 / (1 + math.exp(-score))}.get(
        output, 1 / (1 + math.exp(-2 * score))
    )
    assert found.probability == pytest.approx(probability, abs=1e-6)
    total = probability - 0.5 if output == "probabilities" else score
    assert found.attributions.sum() == pytest.approx(total, abs=1e-5)
    assert found.attributions[0, 0] == pytest.approx(-total / 22, abs=1e-5)
    np.testing.assert_array_equal(found.input, pixels)


def test_a_gray_network(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 1), np.uint8).repeat(3, 2)
    found = explained(tmp_path, pixels, mean=(0.13,), std=(0.31,))
    np.testing.assert_array_equal(found.input, pixels[..., 0])
    assert found.attributions.shape == (4, 6)


def test_the_overlay_says_for_or_against_and_how_strongly() -> None:
    attributions = np.zeros((20, 20), np.float32)
    attributions[0] = np.linspace(-2, 2, 20)
    attributions[1, :5] = 100  # a percent and a bit
    attributions[1, 5:10] = -100
    drawn = Explanation("cat", 0.5, 9, np.zeros((20, 20, 3), np.uint8), attributions).overlay()
    assert drawn[1, 0].tolist() == [230, 80, 0, 255]
    assert drawn[1, 5].tolist() == [0, 90, 230, 255]
    assert (drawn[2:, :, 3] == 0).all()
    nothing = Explanation("cat", 0.5, 9, drawn, np.zeros((20, 20), np.float32)).overlay()
    assert (nothing[..., 3] == 0).all()


@pytest.fixture(scope="module")
def service(exported: Path) -> Iterator[Service]:
    limit, threads = Image.MAX_IMAGE_PIXELS, torch.get_num_threads()
    yield Service(context_for(exported, [], max_pixels=1_000_000, threads=1, explanations=True))
    Image.MAX_IMAGE_PIXELS = limit
    torch.set_num_threads(threads)


def test_an_explanation_beside_predictions(
    service: Service, exported: Path, samples: list[Path]
) -> None:
    files = [samples[i].read_bytes() for i in (4, 11, 12)]
    predictions = ask(service, [{"body": files[0]}, {"body": files[2]}], exported)
    batch = [{"body": each} for each in (files[0], files[1], b"text", files[2])]
    headers = [{}, {"explain": "True"}, {"explain": "True"}, {}]
    first, found, wrong, last = ask(service, batch, exported, headers)
    assert [first, last] == predictions
    assert (found[0], wrong[0], wrong[1]["error"]["code"]) == (200, 415, 415)
    body = found[1]
    assert body.keys() == {
        *("label", "probability", "precision", "steps", "input", "overlay", "attributions")
    }
    assert (body["label"], body["precision"]) == ("truck", "float32")
    assert body["attributions"]["shape"] == [32, 32]
    assert len(body["attributions"]["data"]) == 32 * 32
    seen = Image.open(io.BytesIO(base64.b64decode(body["input"])))
    assert (seen.format, seen.mode) == ("PNG", "RGB")
    np.testing.assert_array_equal(seen, Image.open(samples[11]).convert("RGB"))
    overlay = Image.open(io.BytesIO(base64.b64decode(body["overlay"])))
    assert (overlay.format, overlay.mode, overlay.size) == ("PNG", "RGBA", (32, 32))
    strongest = np.abs(body["attributions"]["data"]).argmax()
    assert np.asarray(overlay)[..., 3].ravel()[strongest] == 255


def test_a_class_can_be_named(service: Service, exported: Path, samples: list[Path]) -> None:
    batch = [{"body": samples[4].read_bytes()}] * 4
    names = ["cat", "c%61t", "Cat\n", None]
    headers = [
        {"explain": "True", **({} if name is None else {"x-explain-class": name})} for name in names
    ]
    cat, encoded, unknown, best = ask(service, batch, exported, headers)
    assert cat[1]["label"] == "cat"
    assert cat[1]["probability"] < best[1]["probability"]
    assert cat[1]["attributions"] == encoded[1]["attributions"] != best[1]["attributions"]
    assert unknown[0] == 400
    assert unknown[1]["error"]["message"] == (
        "X-Explain-Class: expected one of the 10 labels of the model, such as 'airplane', "
        "'automobile', 'bird', 'cat', 'deer', got 'Cat\\n'"
    )


def test_one_image_in_any_protocol(service: Service, exported: Path, samples: list[Path]) -> None:
    file = samples[4].read_bytes()
    content = base64.b64encode(file).decode()
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [content]}
    bodies = [kserve(file), json.dumps({"inputs": [tensor]}).encode(), kserve(file, file)]
    headers = [{"explain": "True"}] * 3
    first, second, several = ask(service, [{"body": b} for b in bodies], exported, headers)
    assert first[1]["label"] == second[1]["label"] == "frog"
    assert (several[0], several[1]["error"]["message"]) == (
        400,
        "expected one image to explain, got 2",
    )


@pytest.mark.parametrize(
    ("accept", "png"),
    [
        *(("image/png", True), ("Image/PNG; q=1", True), ("image/png,*/*", True)),
        *(("*/*", False), ("image/png, application/json", False)),
    ],
)
def test_the_overlay_alone(
    service: Service, exported: Path, samples: list[Path], accept: str, png: bool
) -> None:
    context = context_for(exported, [{"explain": "True", "ACCEPT": accept}])
    (body,) = service.handle([{"body": samples[4].read_bytes()}], context)
    kind = context.get_response_content_type(0)
    assert kind == ("image/png" if png else "application/json")
    if not png:
        body = base64.b64decode(json.loads(body)["overlay"])
    assert Image.open(io.BytesIO(body)).mode == "RGBA"


def test_explanations_of_a_batch_share_their_time(
    service: Service, exported: Path, samples: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explainer, "SECONDS", 0.0)
    batch = [{"body": samples[4].read_bytes()}] * 2
    late, prediction = ask(service, batch, exported, [{"explain": "True"}, {}])
    assert (late[0], prediction[0]) == (503, 200)
    assert "other explanations" in late[1]["error"]["message"]


def test_a_failure_is_its_requests_alone(
    service: Service, exported: Path, samples: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(explainer, "integrated_gradients", no_memory)
    batch = [{"body": samples[4].read_bytes()}] * 2
    failed, prediction = ask(service, batch, exported, [{"explain": "True"}, {}])
    assert (failed[0], prediction[0]) == (500, 200)
    assert failed[1]["error"]["message"] == (
        "an image could not be explained; the server's model log says why"
    )


def test_explanations_are_timed_and_do_not_count_as_predictions(
    service: Service, exported: Path, samples: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[Any, ...]] = []
    monkeypatch.setattr(service._metrics, "answered", lambda *told: counted.append(told))
    context = context_for(exported, [{"explain": "True"}])
    service.handle([{"body": samples[4].read_bytes()}], context)
    header = context.get_response_headers(0)["Server-Timing"]
    stage, _, duration = header.partition(";dur=")
    assert stage == "explain"
    ((statuses, _, seconds, explained),) = counted
    assert (statuses, explained) == ([200], 1)
    assert 0 <= seconds < float(duration) / 1e3


def test_a_network_too_large_to_explain(tmp_path: Path) -> None:
    torch.jit.script(InPlace()).save(str(tmp_path / "model.pt"))
    Spec((512, 513), ("bright", "dark")).save(tmp_path)
    with pytest.raises(ValueError, match=r"at most 262144 pixels.* has 512 x 513"):
        Explainer(tmp_path / "model.pt", Classifier(tmp_path))


def test_explanations_are_without_tf32(exported: Path) -> None:
    """Traced convolutions have it enabled in the file."""
    explainer = Explainer(exported / "model.pt", Classifier(exported))
    explainer.load()
    nodes = explainer._model.graph.findAllNodes("aten::_convolution", recurse=True)
    assert {list(node.inputs())[-1].toIValue() for node in nodes} == {False}
