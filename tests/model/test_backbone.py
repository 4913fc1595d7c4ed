"""Networks of torchvision and timm with a head of one's own."""

import re
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision import models

from falconet.model.backbone import Backbone, preprocessing, published_state
from falconet.model.export import export
from falconet.model.spec import Spec
from falconet.model.weights import Weights

SHUFFLE, TINY = "torchvision:shufflenet_v2_x0_5", "timm:test_resnet"


@pytest.mark.parametrize(
    ("name", "head"),
    [
        (SHUFFLE, "fc"),
        ("torchvision:squeezenet1_1", "classifier.1"),
        ("torchvision:googlenet", "fc"),
        (TINY, "fc"),
        ("timm:test_vit", "head"),
        ("timm:test_convnext", "head.fc"),
    ],
)
def test_the_last_layer_is_the_head(name: str, head: str) -> None:
    network = Backbone(name, classes=3)
    assert network.head == head
    size = preprocessing(name, (160, 160))["size"]
    assert network.train()(torch.rand(2, 3, *size)).shape == (2, 3)
    every, backbone = list(network.parameters()), network.backbone_parameters()
    own = list(network.network.get_submodule(head).parameters())
    assert len(own) in (1, 2)
    assert {id(p) for p in every} - {id(p) for p in backbone} == {id(p) for p in own}


@pytest.mark.parametrize("name", ["torchvision:efficientnet_b0", "timm:tf_efficientnet_lite0"])
def test_the_head_starts_small(name: str) -> None:
    """The libraries' own values, up to 0.7 for two classes, are too large for a fast start."""
    network = Backbone(name, classes=2)
    weight = network.network.get_submodule(network.head).weight
    assert 0 < weight.abs().max() <= weight.shape[1] ** -0.5


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_all_but_the_head_is_taken_from_a_file(kind: str, tmp_path: Path) -> None:
    original = timm.create_model("test_resnet")
    file = tmp_path / f"weights.{kind}"
    state = original.state_dict()
    save_file(state, file) if kind == "safetensors" else torch.save(state, file)
    network = Backbone(TINY, classes=4)
    before = network.network.get_submodule("fc").weight.clone()
    network.take(published_state(TINY, file))
    x = torch.rand(2, 3, 160, 160)
    with torch.inference_mode():
        features = original.eval().forward_features(x)
        assert torch.equal(network.network.eval().forward_features(x), features)
    assert torch.equal(network.network.get_submodule("fc").weight, before)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(models.squeezenet1_1().state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"expected the weights of this network, got others: \d+"):
        Backbone(TINY).take(published_state(TINY, tmp_path / "other.pth"))
    (tmp_path / "other.safetensors").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"other\.safetensors: expected safetensors"):
        published_state(TINY, tmp_path / "other.safetensors")


def test_published_weights_come_from_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = models.ShuffleNet_V2_X0_5_Weights
    state = models.shufflenet_v2_x0_5().state_dict()
    monkeypatch.setattr(kind, "get_state_dict", lambda *_, **__: state)
    found = published_state(SHUFFLE)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())

    def fail(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(kind, "get_state_dict", fail)
    with pytest.raises(ConnectionError, match=r"no route to host.*; name a file .* --weights"):
        published_state(SHUFFLE)


def test_published_files_of_earlier_versions_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """DenseNets, as they are published: with other names, and without numbers of batches."""
    torch.manual_seed(0)
    state = models.densenet121().state_dict()
    earlier = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }
    assert not earlier.keys() >= {n for n in state if not n.endswith("num_batches_tracked")}
    monkeypatch.setattr(
        models.DenseNet121_Weights, "get_state_dict", lambda *_, **__: dict(earlier)
    )
    network = Backbone("torchvision:densenet121", classes=3)
    network.take(published_state("torchvision:densenet121"))
    name = "features.denseblock1.denselayer1.conv1.weight"
    assert torch.equal(network.network.state_dict()[name], state[name])


@pytest.mark.parametrize("name", ["mnasnet0_5", "resnet18"])
def test_files_without_versions_and_numbers_of_batches_are_read(name: str, tmp_path: Path) -> None:
    state = getattr(models, name)().state_dict()
    file = tmp_path / "weights.pth"
    torch.save({n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}, file)
    network = Backbone(f"torchvision:{name}", classes=3)
    network.take(published_state(f"torchvision:{name}", file))
    taken, head = network.network.state_dict(), f"{network.head}."
    backbone = {n for n in state if not n.startswith(head)}
    assert len(backbone) > 50
    assert all(torch.equal(taken[n], state[n]) for n in backbone)


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(ValueError, match="expected a backbone like torchvision:resnet18 or timm:"):
        Backbone("resnet18")
    with pytest.raises(ValueError, match="torchvision has no classifier 'resnet19'"):
        Backbone("torchvision:resnet19")


@pytest.mark.parametrize("elsewhere", ["hf-hub:some/model", "hf_hub:a/b", "local-dir:/tmp"])
def test_a_weights_file_reads_nothing_from_elsewhere(
    elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("timm was asked for it")

    arguments = {"backbone": TINY, "classes": 3}
    spec = Spec(classes=("a", "b", "c"), size=(64, 64))
    changed = {**arguments, "backbone": f"timm:{elsewhere}"}
    Weights(Backbone(**arguments), changed, spec, [], {}).save(tmp_path / "weights.pt")
    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(ValueError, match="expected a network that timm itself has"):
        Weights.load(tmp_path / "weights.pt")


def test_preprocessing_is_that_of_the_published_weights() -> None:
    assert preprocessing(SHUFFLE, (224, 224))["resize"] == 256
    assert preprocessing(SHUFFLE, (112, 112))["resize"] == 128
    own = preprocessing("timm:test_vit", (160, 160))
    config = timm.data.resolve_model_data_config(timm.create_model("test_vit"))
    assert (own["mean"], own["std"]) == (config["mean"], config["std"])
    assert own["resize"] == int(160 / config["crop_pct"])
    own["resize"] = 1  # somebody else's copy
    assert preprocessing("timm:test_vit", (160, 160))["resize"] != 1


def test_it_is_kept_loaded_and_exported(tmp_path: Path) -> None:
    arguments = {"backbone": TINY, "classes": 3}
    spec = Spec(classes=("a", "b", "c"), **preprocessing(TINY, (64, 64)))
    random = np.random.default_rng(0)
    samples = [random.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(4)]
    made = Weights(Backbone(**arguments).eval(), arguments, spec, samples, {})
    made.save(tmp_path / "weights.pt")
    loaded = Weights.load(tmp_path / "weights.pt")
    assert isinstance(loaded.network, Backbone)
    assert export(loaded, tmp_path / "exported").images == 4
