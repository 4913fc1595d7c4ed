"""Models from elsewhere, without their weights, beside their own preprocessing."""

import json
import warnings
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.models.sources import write_hugging_face
from falconet.handler.classifier import Classifier
from falconet.model.importers import load
from falconet.model.importers.labels import read_labels
from falconet.model.importers.model import ImportOptions, Model, unique
from falconet.model.importers.outputs import OneTensor
from falconet.model.importers.state import read_state
from falconet.model.importing import ImportedModelError, compare, write
from falconet.model.samples import generated_images, in_folder, png
from falconet.native.output import probabilities

RANDOM = ImportOptions(random=True)


def images(size: tuple[int, int], count: int) -> dict[str, bytes]:
    return {f"{i}.png": png(each) for i, each in enumerate(generated_images(size, count))}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("source", "resize", "filter"),
    [
        ("torchvision:squeezenet1_1", 256, "bilinear"),
        ("timm:test_vit", 168, "bicubic"),
        ("timm:test_efficientnet", 168, "bicubic"),
    ],
)
def test_a_published_network_says_the_same(
    source: str, resize: int, filter: str, tmp_path: Path
) -> None:
    model = load(source, RANDOM)
    assert (model.spec.resize, model.spec.filter) == (resize, filter)
    assert len(model.spec.classes) == 1000
    proof = write(model, tmp_path)
    assert proof.made
    assert proof.same_bytes == proof.same_top1 == proof.images == 32
    assert proof.input_difference is not None
    assert proof.input_difference < 1e-5
    assert proof.logit_difference < 1e-4
    assert json.loads((tmp_path / "proof.json").read_text())["same_bytes"] == 32
    # And it is served so.
    image = generated_images(model.spec.size)[0]
    classifier = Classifier(tmp_path, precision="float32")
    rows = classifier.batch(1)
    classifier.prepare([image], rows)
    x = torch.from_numpy(model.spec.preprocessor()([image]))
    with torch.inference_mode():
        expected = model.network(x).softmax(1)
    torch.testing.assert_close(classifier.logits(rows).softmax(1), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("mode", "share", "resize", "fit"),
    [
        ("squash", 0.9, (177, 177), "shorter"),
        ("border", 0.9, 177, "longer"),
        ("border", 1.0, 160, "longer"),
        ("center", 0.95, 168, "shorter"),
    ],
)
def test_timm_s_ways_to_crop(
    mode: str, share: float, resize: Any, fit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm.data

    resolve = timm.data.resolve_model_data_config
    changed = {"crop_mode": mode, "crop_pct": share}
    monkeypatch.setattr(
        timm.data, "resolve_model_data_config", lambda network: {**resolve(network), **changed}
    )
    model = load("timm:test_resnet", RANDOM)
    assert (model.spec.resize, model.spec.fit) == (resize, fit)
    with torch.inference_mode():
        proof = compare(model, model.network, images((160, 160), 32), made=True)
    assert proof.same_bytes == 32
    assert proof.input_difference is not None
    assert proof.input_difference < 1e-5
    non_square = replace(RANDOM, size=(160, 192))
    if mode != "squash":
        with pytest.raises(ValueError, match="timm: expected a square for the crop mode"):
            load("timm:test_resnet", non_square)


TINY = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}


@pytest.mark.parametrize(
    ("name", "config", "backend", "stated"),
    [
        ("vit", TINY, "torchvision", ((224, 224), None, "bilinear", "torch")),
        ("vit", TINY, "pil", ((224, 224), None, "bilinear", "pillow")),
        (
            "convnext",
            {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]},
            "pil",
            ((224, 224), 256, "bicubic", "pillow"),
        ),
    ],
)
def test_a_folder_of_hugging_face_s(
    name: str, config: Any, backend: str, stated: Any, tmp_path: Path
) -> None:
    folder = write_hugging_face(tmp_path / "given", name, classes=7, **config)
    model = load(f"hf:{folder}:{backend}", RANDOM)
    spec = model.spec
    assert (spec.size, spec.resize, spec.filter, spec.exact_as) == stated
    assert spec.classes == tuple(f"LABEL_{i}" for i in range(7))
    assert (spec.output, spec.orientation) == ("logits", "exif")
    proof = write(model, tmp_path)
    assert proof.same_bytes == proof.same_top1 == 32
    assert proof.input_difference is not None
    assert proof.input_difference < 1e-5
    config_file = folder / "config.json"
    content = json.loads(config_file.read_text())
    config_file.write_text(json.dumps({**content, "problem_type": "multi_label_classification"}))
    several = load(f"hf:{folder}", RANDOM)
    assert (several.spec.output, several.returns) == (
        "sigmoid",
        "7 logits (several labels may be true at once)",
    )
    config_file.write_text(json.dumps({**content, "problem_type": "regression"}))
    with pytest.raises(ValueError, match="expected a classifier, got a model for regression"):
        load(f"hf:{folder}", RANDOM)
    config_file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="expected the size of its image processor"):
        load(f"hf:{folder}", replace(RANDOM, size=(100, 100)))


Pair = namedtuple("Pair", ["logits", "rest"])


class Small(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        outputs = {"number": 1, "one": 1, "sigmoid": 1, "between": 1, "softmax of two": 2}.get(
            kind, 5
        )
        self.convolution = nn.Conv2d(3, outputs, 5, 3)
        self.kind = kind

    def forward(self, x: Tensor) -> Any:
        logits = self.convolution(x).amax((2, 3), keepdim=self.kind == "map")
        found: Any = {
            "tuple": (logits, x),
            "named": Pair(logits, x),
            "dict": {"features": x, "logits": logits},
            "probabilities": logits.softmax(1),
            "softmax of two": logits.softmax(1),
            "sigmoid": logits.sigmoid(),
            "between": logits.clamp(0, 1),
            "several": logits.sigmoid().flatten(1).float(),
            "one": logits.squeeze(),
            "nothing": "no tensor",
        }
        return found.get(self.kind, logits)


def small(kind: str) -> nn.Module:
    return Small(kind).eval()


@pytest.mark.parametrize(
    "kind",
    [
        "tuple",
        "named",
        "dict",
        "probabilities",
        "number",
        "one",
        "sigmoid",
        "between",
        "several",
        "softmax of two",
        "map",
        "logits",
    ],
)
def test_outputs_become_probabilities(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "from tests.model.test_importing import small\n\n"
        f"def network():\n    return small({kind!r})\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)
    two = kind in ("number", "one", "sigmoid", "between", "softmax of two")
    wanted = ImportOptions(size=(32, 32), labels=("no", "yes") if two else tuple("abcde"))
    if kind == "between":
        with pytest.raises(ValueError, match="a logit or a probability, got numbers from"):
            load("python:mine:network", wanted)
        wanted = replace(wanted, outputs="probabilities")
    model = load("python:mine:network", wanted)
    x = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        own = model.network.network(x)  # type: ignore[operator, union-attr]
        expected = {
            "tuple": lambda: own[0].softmax(1),
            "named": lambda: own.logits.softmax(1),
            "dict": lambda: own["logits"].softmax(1),
            "probabilities": lambda: own,
            "number": lambda: torch.cat([1 - own.sigmoid(), own.sigmoid()], 1),
            "one": lambda: torch.stack([1 - own.sigmoid(), own.sigmoid()], 1),
            "sigmoid": lambda: torch.cat([1 - own, own], 1),
            "between": lambda: torch.cat([1 - own, own], 1),
            "several": lambda: own,
            "softmax of two": lambda: own,
            "map": lambda: own.flatten(1).softmax(1),
            "logits": lambda: own.softmax(1),
        }[kind]()
        found = probabilities(model.spec.output, model.network(x))
        torch.testing.assert_close(found, expected)
    proof = write(
        model,
        tmp_path / "made",
        {f"{i}.png": png(each) for i, each in enumerate(generated_images((40, 50), 3))},
    )
    assert (proof.images, proof.made, proof.same_bytes) == (3, False, None)
    assert "the preprocessing is not compared" in str(proof)
    assert len(list((tmp_path / "made" / "samples").iterdir())) == 3


def test_a_torchscript_file_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "given.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(small("logits"), torch.rand(1, 3, 32, 32)).save(str(path))
    model = load(str(path), ImportOptions(size=(32, 32), labels=tuple("abcde")))
    assert write(model, tmp_path / "made").same_top1 == 32
    with pytest.raises(ValueError, match="expected labels for the model's 5 outputs, got 4"):
        load(str(path), ImportOptions(size=(32, 32), labels=tuple("abcd")))
    with pytest.raises(ValueError, match="leave --weights out"):
        load(str(path), ImportOptions(weights=path))


def test_a_torchscript_file_of_gray_images_that_are_not_square(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    path = tmp_path / "given.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, torch.rand(1, 1, 20, 30)).save(str(path))
    fields = {"mean": [0.1307], "std": [0.3081], "resize": None}
    wanted = ImportOptions(size=(20, 30), labels=tuple("abcde"), fields=fields)
    model = load(str(path), wanted)
    assert (model.spec.size, model.spec.mean, model.spec.resize) == ((20, 30), (0.1307,), None)
    assert write(model, tmp_path / "made").same_top1 == 32
    for fields, message in (
        ({"means": [0.5]}, "unknown field 'means'"),
        ({"std": [0.5, 0.5]}, "one number per channel"),
    ):
        with pytest.raises(ValueError, match=message):
            load(str(path), replace(wanted, fields=fields))


def test_weights_of_one_s_own(tmp_path: Path) -> None:
    torch.manual_seed(1)
    labels = tuple("abcde")
    given: Any = load("timm:test_resnet", ImportOptions(random=True, labels=labels)).network.network
    state = given.state_dict()
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    x = torch.rand(2, 3, 160, 160)
    for content in (state, {"state_dict": state, "epoch": 3}, {"model": wrapped}):
        torch.save(content, tmp_path / "own.pth")
        model = load("timm:test_resnet", ImportOptions(weights=tmp_path / "own.pth", labels=labels))
        assert model.spec.classes == labels
        assert model.preprocess is None  # that of these weights may have been another
        with torch.inference_mode():
            torch.testing.assert_close(model.network(x), given(x))
    with pytest.raises(ValueError, match=r"own\.pth: .* name them with --labels"):
        load("timm:test_resnet", ImportOptions(weights=tmp_path / "own.pth"))
    for content in ([1, 2], {"state_dict": {"a": 1}}, given):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(ValueError, match=r"other\.pth: expected"):
            read_state(tmp_path / "other.pth")


def test_networks_that_turn_their_input_do_so_with_weights_of_one_s_own(tmp_path: Path) -> None:
    labels = tuple("abc")
    state = load("torchvision:googlenet", ImportOptions(random=True, labels=labels)).network.network
    kept = {n: t for n, t in state.state_dict().items() if not n.startswith("aux")}  # type: ignore[operator, union-attr]
    torch.save(kept, tmp_path / "own.pth")
    network: Any = load(
        "torchvision:googlenet", ImportOptions(weights=tmp_path / "own.pth", labels=labels)
    ).network.network
    assert network.transform_input
    assert network.aux1 is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("torchvision:resnet19", "torchvision has no classifier 'resnet19'"),
        ("timm:resnet19", "timm has no model 'resnet19'"),
        ("torchvision:resnet18:V9", "expected one of IMAGENET1K_V1, DEFAULT, got 'V9'"),
        ("python:os", "expected python:MODULE:FUNCTION"),
        ("python:os:nothing", "python:os:nothing: .*nothing"),
        ("python:os:getcwd", "expected a torch.nn.Module, got str"),
        ("keras:vgg", "one of torchvision:NAME, timm:NAME, hf:NAME, python:NAME.*got 'keras:vgg'"),
    ],
)
def test_what_is_not_there_is_named(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(source, RANDOM)


def test_a_network_that_needs_another_size_is_told_so() -> None:
    with pytest.raises(ValueError, match="if it takes another size, name it with --size"):
        load("torchvision:vit_b_16", ImportOptions(random=True, size=(100, 100)))


class OfTwo(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) + torch.arange(2).sum() * int(x.shape[0] == 2)


def test_a_trace_that_keeps_the_size_of_its_batch_is_refused(tmp_path: Path) -> None:
    spec = load("timm:test_resnet", ImportOptions(random=True, labels=tuple("abc"))).spec
    spec = replace(spec, classes=("a", "b", "c"))
    model = Model(OneTensor(OfTwo(), "logits").eval(), spec, None, "")
    with pytest.raises(ImportedModelError, match="differs from the original"):
        write(model, tmp_path)


def test_samples_are_those_of_the_last_import_and_named_in_errors(tmp_path: Path) -> None:
    model = load("timm:test_resnet", RANDOM)
    write(model, tmp_path, images((40, 50), 3))
    write(model, tmp_path, images((40, 50), 2))
    kept = in_folder(tmp_path / "samples", ["PNG"])
    assert list(kept) == ["0.png", "1.png"]
    with pytest.raises(ValueError, match=r"^b\.png: the image cannot be decoded"):
        write(model, tmp_path, {"a.png": kept["0.png"], "b.png": kept["1.png"][:200]})


def test_of_a_large_folder_of_classes_some_are_taken(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (file,) = images((4, 4), 1).values()
    for i in range(600):
        (tmp_path / "cats" / f"{i:03}.png").write_bytes(file)
    found = in_folder(tmp_path, ["PNG"])
    assert list(found)[:2] == ["cats-000.png", "cats-003.png"]
    assert len(found) == 200
    assert in_folder(tmp_path / "none", ["PNG"]) == {}


def test_a_file_that_says_something_else_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load("timm:test_resnet", RANDOM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.rand(2, 3, 160, 160)
        other = torch.jit.trace(load("timm:test_resnet", RANDOM).network, example)
    monkeypatch.setattr(torch.jit, "freeze", lambda _: other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImportedModelError, match="differs from the original"):
            write(model, tmp_path)
    assert not list(tmp_path.glob("model.pt*"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "crane\ncat\n\ncrane\n"),
        ("list.json", '["crane", "cat", "crane"]'),
        ("index_to_name.json", '{"2": ["n3", "crane"], "0": ["n1", "crane"], "1": "cat"}'),
        ("names.json", '{"object_type_names": ["crane", "cat", "crane"]}'),
        ("class_to_idx.JSON", '{"crane": 0, "cat": 1, "crane (2)": 2}'),
        ("windows.txt", "\ufeffcrane\r\ncat\r\ncrane"),
        ("config.json", '{"id2label": {"0": "crane", "1": "cat", "2": "crane"}}'),
    ],
)
def test_labels_are_read_in_all_their_forms(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert read_labels(tmp_path / name) == ("crane", "cat", "crane (2)")
    (tmp_path / "gap.json").write_text('{"0": "a", "2": "b"}')
    with pytest.raises(ValueError, match="a label for each number, '1' is missing"):
        read_labels(tmp_path / "gap.json")
    assert unique(["a", "a", "a"]) == ("a", "a (1)", "a (2)")
    assert np.all(generated_images((9, 9))[0] == generated_images((9, 9))[0])
