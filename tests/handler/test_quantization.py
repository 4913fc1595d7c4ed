"""Graphs in which layers compute with 8-bit integers."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from falconet.cli.observation import observe
from falconet.handler import quantized_ops
from falconet.handler.network import Network, can_quantize, load_frozen
from falconet.handler.quantization import (
    QuantizableGraph,
    Quantization,
    QuantizationError,
    Range,
)
from falconet.handler.quantizing import quantize

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit"),
    pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN"),
    pytest.mark.skipif(not can_quantize(), reason="oneDNN computes in int8 where a CPU can"),
]


class Residual(nn.Module):
    """As ResNet: a stem with a pool, a shortcut as it is, one with a convolution, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.first = nn.Conv2d(16, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.down1 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.down2 = nn.Conv2d(32, 32, 3, padding=1)
        self.project = nn.Conv2d(16, 32, 1, stride=2)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, 2, 1)
        x = functional.relu(x + self.second(functional.relu(self.first(x))))
        x = functional.relu(self.down2(functional.relu(self.down1(x))) + self.project(x))
        return self.head(x.mean((2, 3)))


class Gated(nn.Module):
    """As MobileNetV3: groups, hard-swish, ReLU6, a gate, a sum without a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(3, 32, 1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.gate = nn.Conv2d(32, 32, 1)
        self.project = nn.Conv2d(32, 16, 1)
        self.again = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self.depthwise(functional.hardswish(self.expand(x))))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        x = self.project(x)
        x = x + self.again(x)
        return self.head(functional.dropout(x.mean((2, 3)), training=False))


class Branches(nn.Module):
    """As SqueezeNet, ShuffleNet and transformers: parts put together, halves, SiLU, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 16, 1)
        self.three = nn.Conv2d(3, 16, 3, padding=1)
        self.part = nn.Conv2d(16, 16, 1)
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([functional.relu(self.one(x)), functional.silu(self.three(x))], 1)
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        left, right = x.chunk(2, 1)
        x = torch.cat([self.part(left), right], 1).flatten(2).transpose(1, 2)
        return self.mlp(x).mean(1)


def written(network: nn.Module, folder: Path, *, scripted: bool = False) -> Path:
    torch.manual_seed(0)
    for each in network.modules():
        if isinstance(each, nn.Conv2d | nn.Linear):  # so that later layers still say something
            nn.init.kaiming_normal_(each.weight)
    path = folder / "model.pt"
    network.eval()
    example = torch.randn(2, 3, 13, 11)
    script = torch.jit.script(network) if scripted else torch.jit.trace(network, example)
    torch.jit.freeze(script).save(path)
    return path


def operators(network: Network) -> Counter[str]:
    return Counter(node.kind() for node in network._model.graph.nodes())


BATCHES = [torch.randn(4, 3, 13, 11, generator=torch.Generator().manual_seed(i)) for i in range(3)]


@pytest.mark.parametrize(
    ("network", "layers", "conversions"),
    [
        (Residual(), 7, {"falconet::quantize": 2, "falconet::dequantize": 1}),
        (Gated(), 6, {"falconet::quantize": 4, "falconet::dequantize": 1}),
        (Branches(), 5, {"falconet::quantize": 3, "falconet::dequantize": 0}),
    ],
)
def test_every_layer_computes_nearly_the_same(
    network: nn.Module, layers: int, conversions: dict[str, int], tmp_path: Path
) -> None:
    path = written(network, tmp_path)
    found = observe(path, BATCHES)
    assert len(found.layers) == layers
    exact = Network(path, "float32")
    quantized = Network(path, "int8", quantization=found, image=(3, 13, 11))
    assert quantized.precision == "int8"
    kinds = operators(quantized)
    assert kinds["onednn::qconv2d_pointwise"] + kinds["onednn::qlinear_pointwise"] == layers
    assert kinds["aten::_convolution"] == kinds["aten::linear"] == kinds["aten::relu"] == 0
    assert {kind: kinds[kind] for kind in conversions} == conversions
    for size in (4, 1, 7):
        for _ in range(3):  # TorchScript optimizes after two
            batch = torch.randn(size, 3, 13, 11)
            expected, got = exact(batch), quantized(batch)
            assert 0 < (got - expected).norm() < 0.1 * expected.norm()


def test_layers_that_are_left_out_stay_in_floating_point(tmp_path: Path) -> None:
    path = written(Residual(), tmp_path)
    found = observe(path, BATCHES)
    exact = Network(path, "float32")(BATCHES[0])
    errors = []
    for left_out in (frozenset[int](), frozenset(sorted(found.layers)[:3]), found.layers):
        some = replace(found, layers=found.layers - left_out)
        model = load_frozen(path)
        quantize(model.graph, some, torch.float32)
        kinds = Counter(node.kind() for node in model.graph.nodes())
        assert kinds["aten::_convolution"] + kinds["aten::linear"] == len(left_out)
        with torch.inference_mode():
            errors.append(float((model(BATCHES[0]) - exact).norm()))
    assert errors[0] > errors[1] > 1e-3 > errors[2]


class Reused(nn.Module):
    """A value that is needed after it was added."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x))
        y = functional.relu(self.second(x) + x)
        return torch.cat([x.mean((2, 3)), y.mean((2, 3))], 1)


def test_a_shortcut_that_is_needed_later_is_not_written_over(tmp_path: Path) -> None:
    path = written(Reused(), tmp_path)
    exact = load_frozen(path)
    with torch.inference_mode():
        expected = exact(BATCHES[0])
    for network in (
        Network(path, "float32", image=(3, 13, 11)),
        Network(path, "bfloat16", image=(3, 13, 11)),
        Network(path, "int8", quantization=observe(path, BATCHES)),
    ):
        for _ in range(3):
            torch.testing.assert_close(network(BATCHES[0]), expected, rtol=0.05, atol=0.05)


def test_a_shortcut_is_added_in_the_convolution_in_floating_point_too(tmp_path: Path) -> None:
    path = written(Residual(), tmp_path)
    for precision in ("float32", "bfloat16"):
        network = Network(path, precision, image=(3, 13, 11))  # type: ignore[arg-type]
        kinds = operators(network)
        assert kinds["mkldnn::_convolution_pointwise_"] == 2
        assert kinds["aten::add"] == kinds["aten::relu"] == 0


def test_a_quantization_survives_the_file(tmp_path: Path) -> None:
    found = observe(written(Gated(), tmp_path), BATCHES)
    assert Quantization.from_json(found.to_json()) == found


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "graph": ""}'])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"int8\.json"):
        Quantization.from_json(text)


def test_another_models_quantization_is_refused(tmp_path: Path) -> None:
    found = observe(written(Gated(), tmp_path), BATCHES)
    with pytest.raises(ValueError, match="for another model"):
        Network(written(Residual(), tmp_path), "int8", quantization=found)
    with pytest.raises(ValueError, match=r"needs int8\.json"):
        Network(tmp_path / "model.pt", "int8")


def test_ranges_hold_what_was_seen(tmp_path: Path) -> None:
    path = written(Residual(), tmp_path)
    found = observe(path, BATCHES)
    model = load_frozen(path)
    quantizable = QuantizableGraph(model.graph)
    assert found.graph == quantizable.fingerprint()
    for number, held in found.ranges.items():
        assert held.minimum <= 0 < held.maximum
        if quantizable.values[number].node().kind() in ("aten::relu", "aten::max_pool2d"):
            assert held.minimum == held.zero_point == 0
    assert Range(0.0, 51.0).scale == pytest.approx(0.2)
    assert Range(-1.0, 1.0).zero_point in (127, 128)


def test_pools_are_torchs() -> None:
    given = torch.randint(0, 256, (2, 5, 13, 11), dtype=torch.uint8)
    for arguments in (([3, 3], [2, 2], [1, 1]), ([2, 3], [], [0, 1]), ([3, 3], [2, 2], [0, 0])):
        for ceil in (False, True):
            expected = torch.max_pool2d(given.float(), *arguments, 1, ceil).byte()
            got = quantized_ops.max_pool(given, *arguments, [1, 1], ceil)
            assert torch.equal(got, expected)
    with pytest.raises(ValueError, match="dilation"):
        quantized_ops.max_pool(given, [2, 2], [2, 2], [0, 0], [2, 2], False)


def test_conversions_keep_the_order_in_memory() -> None:
    x = torch.randn(2, 5, 6, 7)
    strided: Any = torch.randn(2, 10, 6, 7)[:, ::2]
    for given in (x, x.contiguous(memory_format=torch.channels_last), strided, x[0, 0]):
        for dtype in (torch.float32, torch.bfloat16):
            values = given.to(dtype)
            got = quantized_ops.quantize(values, 0.05, 100, False)
            expected = ((values.float() / 0.05).round() + 100).clamp(0, 255)
            assert (got.float() - expected).abs().max() <= 1  # 1 / 0.05 is rounded
            back = quantized_ops.dequantize(got, 0.05, 100, dtype)
            torch.testing.assert_close(back, ((got.float() - 100) * 0.05).to(dtype))
    moved = quantized_ops.quantize(x, 0.05, 100, True)
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved, quantized_ops.quantize(x, 0.05, 100, False))


class Base(nn.Module):
    """Four convolutions, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 16, 3, padding=1)
        self.b = nn.Conv2d(16, 16, 3, padding=1)
        self.c = nn.Conv2d(16, 16, 3, padding=1)
        self.d = nn.Conv2d(16, 16, 1)
        self.wide = nn.Conv2d(32, 16, 1)
        self.h = nn.Linear(16, 10)

    def end(self, x: Tensor, y: Tensor) -> Tensor:
        return self.h(x.mean((2, 3)) + y.mean((2, 3)))


class SplitBefore(Base):
    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.a(x))
        left, right = torch.split(x, [8, 8], 1)
        y = functional.relu(self.c(functional.relu(self.b(x))) + x)
        return self.end(y, torch.cat([left, right], 1))


class ReadsWhatItWrites(Base):
    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.a(x))
        left = x.contiguous(memory_format=torch.channels_last)
        return self.end(functional.relu(self.c(left) + x), left)


class ReadBetween(Base):
    """The shortcut is read by a layer before it is added."""

    def forward(self, x: Tensor) -> Tensor:
        t = functional.relu(self.a(x))
        u = functional.relu(self.b(t))
        m = self.c(t)
        side = self.d(u) + t
        return self.end(functional.relu(m), side)


class ReadAfter(Base):
    """The shortcut is read by a layer after the one that it is added to."""

    def forward(self, x: Tensor) -> Tensor:
        t = functional.relu(self.a(x))
        u = self.b(functional.relu(self.d(t)))
        m = self.c(t)
        return self.end(functional.relu(u + t), m)


class Changed(Base):
    """Values are changed in place."""

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.a(x))
        z = self.b(y)
        y[:, :8] += 5
        return self.end(functional.relu(z), self.c(y))


class Context(Base):
    """As GCNet: what is added has one value for each channel."""

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.a(x))
        y = self.d(functional.relu(x).mean((2, 3), keepdim=True))
        return self.end(functional.relu(x + y), x)


class Clipped(Base):
    """ReLU6 beside values that are larger, in one range; and a pool that bytes do not pass."""

    def forward(self, x: Tensor) -> Tensor:
        x = 4 * functional.relu(self.a(x))
        both = torch.cat([functional.relu6(self.d(x)), functional.relu(self.b(x))], 1)
        x = self.wide(both)
        return self.end(self.c(functional.max_pool2d(x, 2, dilation=2)), x)


class Chunked(Base):
    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.a(x))
        x = torch.cat(torch.chunk(x, 2, 1), 1)
        token = torch.ones(1, 16, 1, 11).expand(x.shape[0], 16, 1, 11)
        return self.end(self.c(torch.cat([self.b(x), token], 2)), x)


class Bounds(Base):
    def forward(self, x: Tensor) -> Tensor:
        x = torch.clamp(self.a(x), torch.zeros(16, 1, 1), torch.ones(16, 1, 1))
        x = functional.hardtanh(self.b(x), -0.5, 0.7)
        return self.end(x, torch.clamp(self.c(x), max=2.0))


class Looped(Base):
    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.a(x))
        y = x * 0.5
        for _ in range(x.shape[2] // 4):
            y = functional.relu(self.c(y) + x) * 0.3
        return self.end(x, y)


class Appended(Base):
    def forward(self, x: Tensor) -> Tensor:
        found = [functional.relu(self.a(x))]
        if x.shape[0] > 0:
            found.append(functional.relu(self.b(found[0])))
        x = self.wide(torch.cat(found, 1))
        return self.end(x, x)


@pytest.mark.parametrize(
    "network",
    [
        *(SplitBefore, ReadsWhatItWrites, ReadBetween, ReadAfter, Changed, Context, Clipped),
        *(Chunked, Bounds, Looped, Appended),
    ],
)
def test_networks_like_no_other(network: type[Base], tmp_path: Path) -> None:
    """Every precision computes nearly the same; int8 may be refused instead."""
    torch.manual_seed(0)
    made = network()
    path = written(made, tmp_path, scripted=network in (Looped, Appended))
    with torch.inference_mode():
        expected = made(BATCHES[0])
    image = (3, 13, 11)
    networks = [Network(path, each, image=image) for each in ("float32", "bfloat16")]
    refused = False
    try:
        found = observe(path, BATCHES)
        networks.append(Network(path, "int8", quantization=found, image=image))
    except QuantizationError:
        refused = True
    assert refused == (network in (Changed, Appended))
    for each, most in zip(networks, (1e-4, 0.05, 0.1), strict=False):
        for _ in range(3):
            got = each(BATCHES[0])
            assert (got - expected).norm() < most * expected.norm(), each.precision


@pytest.mark.parametrize(
    "change",
    [
        {"layers": [99_999]},
        {"layers": [float("inf")]},
        {"ranges": {}},
        {"shapes": {}},
        {"weights": []},
        {"weights": [1.0] * 7},
        {"ranges": {"0": [float("nan"), 1.0]}},
        {"ranges": {"0": [1.0, 2.0]}},
        {"graph": "another"},
    ],
)
def test_a_damaged_quantization_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    path = written(Residual(), tmp_path)
    content = json.loads(observe(path, BATCHES).to_json()) | change
    with pytest.raises(QuantizationError):
        Network(path, "int8", quantization=Quantization.from_json(json.dumps(content)))


def test_the_weights_of_another_training_are_refused(tmp_path: Path) -> None:
    found = observe(written(Residual(), tmp_path), BATCHES)
    other = Residual()
    torch.manual_seed(1)
    nn.init.normal_(other.down1.weight)
    path = tmp_path / "other.pt"
    torch.jit.freeze(torch.jit.trace(other.eval(), torch.randn(2, 3, 13, 11))).save(path)
    with pytest.raises(QuantizationError, match="for another model"):
        Network(path, "int8", quantization=found)
