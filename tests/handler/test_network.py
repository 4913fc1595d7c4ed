import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from falconet.handler.network import Network, fast_bfloat16, load_frozen


class Small(nn.Module):
    """With what a network from elsewhere may bring: batch norm that is not folded, a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 5)
        self.doubled = True

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x))).mean((2, 3))
        if x.shape[0] > 2:
            return self.head(x) * 1.0
        return self.head(x)


@pytest.fixture(params=["scripted", "frozen"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = Small()
    network.norm.running_mean = torch.randn(16)
    network.norm.running_var = torch.rand(16) + 0.5
    script = torch.jit.script(network.eval())
    if request.param == "frozen":
        script = torch.jit.freeze(script)
    path = tmp_path / "model.pt"
    script.save(str(path))
    return path


def weights(network: Network) -> list[Tensor]:
    nodes = network._model.graph.findAllNodes("prim::Constant", recurse=True)
    found = [n.t("value") for n in nodes if n.hasAttribute("value") and n.kindOf("value") == "t"]
    return [value for value in found if value.is_floating_point() and value.ndim > 1]


@pytest.mark.usefixtures("with_tf32")
def test_float32_is_not_tf32(file: Path) -> None:
    Network(file, "float32")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.usefixtures("with_tf32")
@pytest.mark.parametrize("frozen", [True, False])
def test_traced_convolutions_are_without_tf32(frozen: bool, tmp_path: Path) -> None:
    """They have the settings of the process that traced them."""
    path, x = tmp_path / "traced.pt", torch.randn(2, 3, 9, 7)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    traced = torch.jit.trace(layers.eval(), x)
    assert allowed_tf32(traced.inlined_graph) == [True]
    (torch.jit.freeze(traced) if frozen else traced).save(str(path))
    network = Network(path, "float32")
    assert allowed_tf32(network._model.inlined_graph) == [False]
    torch.testing.assert_close(network(x), traced(x), rtol=1e-5, atol=1e-5)
    # The fingerprints in int8.json are of the graph as it is in the file.
    assert allowed_tf32(load_frozen(path).graph) == [True]


class OnlyBuffers(nn.Module):
    """A network whose weights are not trained any more."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        for layer in self.layers:
            for name, parameter in list(layer.named_parameters()):
                delattr(layer, name)
                layer.register_buffer(name, parameter.detach())

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def test_a_network_of_buffers_is_rounded(tmp_path: Path) -> None:
    path, x = tmp_path / "buffers.pt", torch.randn(2, 3, 9, 7)
    network = OnlyBuffers().eval()
    torch.jit.trace(network, x).save(str(path))
    torch.testing.assert_close(Network(path, "bfloat16")(x), network(x), rtol=0.05, atol=0.05)


def allowed_tf32(graph: Any) -> list[bool]:
    nodes = graph.findAllNodes("aten::_convolution", recurse=True)
    return [list(node.inputs())[-1].toIValue() for node in nodes]


def test_float32_computes_what_the_file_does(file: Path) -> None:
    network = Network(file, "float32")
    for n in (1, 2, 3, 16):
        x = torch.randn(n, 3, 9, 7)
        expected = torch.jit.load(str(file))(x)
        for batch in (x, x.contiguous(memory_format=torch.channels_last)):
            torch.testing.assert_close(network(batch), expected, rtol=1e-5, atol=1e-5)


def test_loading_does_not_import_the_compiler(file: Path) -> None:
    """It takes longer than all else of a worker's start."""
    program = (
        "import sys, pathlib\n"
        "from falconet.handler.network import Network\n"
        f"network = Network(pathlib.Path({str(file)!r}), 'float32', image=(3, 9, 7))\n"
        "print(network.packed, 'torch._dynamo' in sys.modules)\n"
    )
    output = subprocess.check_output([sys.executable, "-W", "ignore", "-c", program], text=True)
    assert output.strip() == "1 False"


def test_bfloat16_computes_nearly_that(file: Path) -> None:
    exact, rounded = Network(file, "float32"), Network(file, "bfloat16")
    assert {value.dtype for value in weights(exact)} == {torch.float32}
    assert {value.dtype for value in weights(rounded)} == {torch.bfloat16}
    x = torch.randn(16, 3, 9, 7)
    logits = rounded(x)
    assert logits.dtype == torch.float32
    difference = (logits - exact(x)).abs().max()
    assert 0 < difference < 0.02
    assert torch.equal(rounded(x.to(torch.bfloat16)), logits)


def test_filters_lie_as_convolutions_want_them(file: Path) -> None:
    for precision in ("float32", "bfloat16"):
        network = Network(file, precision)
        (filters,) = [value for value in weights(network) if value.ndim == 4]
        assert filters.is_contiguous(memory_format=torch.channels_last)


def test_auto_asks_the_machine(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split())
    assert fast_bfloat16() == bool(flags & {"avx512_bf16", "amx_bf16"})
    for fast, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("falconet.handler.network.fast_bfloat16", lambda fast=fast: fast)
        assert Network(file).dtype == dtype
        assert Network(file, "float32").dtype == torch.float32


def test_an_unknown_precision(file: Path) -> None:
    with pytest.raises(
        ValueError, match="expected one of auto, int8, bfloat16, float32, got 'int4'"
    ):
        Network(file, "int4")  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_gives_the_same_answers(file: Path) -> None:
    network = Network(file, device="cuda:0")
    assert network.dtype == torch.float16
    x = torch.randn(64, 3, 9, 7)
    expected, got = Network(file, "float32")(x), network(x)
    assert got.device.type == "cpu"
    torch.testing.assert_close(got, expected, rtol=1e-2, atol=1e-2)
