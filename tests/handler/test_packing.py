from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from falconet.handler.packing import can_pack, input_sizes, pack

pytestmark = pytest.mark.skipif(not can_pack(torch.float32), reason="torch is built without oneDNN")


class Convolutions(nn.Module):
    """All that a convolution may be, of which some are replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.grouped = nn.Conv2d(16, 16, 3, stride=2, groups=4, bias=False)
        self.dilated = nn.Conv2d(16, 16, (3, 1), padding=(2, 0), dilation=2)
        self.mirrored = nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect")
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.long = nn.Conv1d(8, 4, 3)
        self.inplace = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        kept = self.grouped(x)
        x = kept + torch.relu(kept)  # used twice: the ReLU may not go into it
        x = self.inplace(self.dilated(x))
        if x.shape[0] > 1:
            x = functional.relu(self.mirrored(x))
        x = self.up(x)
        return self.long(x.flatten(2)).mean(2)


def filters_that_are_computed(x: Tensor) -> Tensor:
    return functional.conv2d(x, x[:, :, :3, :3].contiguous())


def frozen(traced: bool) -> torch.jit.ScriptModule:
    torch.manual_seed(0)
    network = Convolutions().eval()
    example = torch.zeros(2, 3, 12, 12)
    script = torch.jit.trace(network, example) if traced else torch.jit.script(network)
    return torch.jit.freeze(script)  # type: ignore[no-any-return]


class Executed(TorchDispatchMode):
    """Counts the operators that are executed."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[str(func.overloadpacket)] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("traced", [False, True])
def test_packed_convolutions_compute_the_same(traced: bool) -> None:
    plain, packed = frozen(traced), frozen(traced)
    sizes = input_sizes(frozen(traced), torch.zeros(2, 3, 12, 12))
    assert pack(packed.graph, sizes) == 4
    with torch.inference_mode(), Executed() as executed:
        packed(torch.zeros(2, 3, 12, 12))
    assert executed.count["mkldnn._convolution_pointwise"] == 4
    # Of first, dilated and mirrored it went into the convolution.
    assert executed.count["aten.relu"] == 1
    for shape in ((2, 3, 12, 12), (2, 3, 12, 12), (5, 3, 20, 16), (2 if traced else 1, 3, 9, 9)):
        x = torch.randn(shape)
        for batch in (x, x.contiguous(memory_format=torch.channels_last)):
            with torch.inference_mode():
                torch.testing.assert_close(packed(batch), plain(batch))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_filters_that_are_no_constant_are_left_alone() -> None:
    example = torch.zeros(3, 3, 9, 9)
    traced = [torch.jit.trace(filters_that_are_computed, example) for _ in range(2)]
    assert pack(traced[0].graph, input_sizes(traced[1], example)) == 0


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize(
    ("example", "packed"),
    [
        (torch.zeros(1, 3, 12, 12), 3),  # the fourth is for several images
        (torch.zeros(1, 5, 12, 12), 0),  # cannot be run
    ],
)
def test_filters_whose_input_is_not_known_are_left_alone(example: Tensor, packed: int) -> None:
    """Another order than an input of that size wants would be slower than none."""
    sizes = input_sizes(frozen(traced=False), example)
    assert pack(frozen(traced=False).graph, sizes) == packed


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(functional.max_pool2d(self.shared(x), 2))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_filters_that_are_used_for_two_sizes_are_left_alone() -> None:
    model = torch.jit.freeze(torch.jit.script(Twice().eval()))
    assert input_sizes(model, torch.zeros(1, 3, 12, 12)) == [None, None]


@pytest.mark.parametrize("has_bfloat16", [False, True])
def test_bfloat16_needs_a_cpu_for_it(monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_bfloat16)
    assert can_pack(torch.float32)
    assert can_pack(torch.bfloat16) == has_bfloat16
    assert not can_pack(torch.float16)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not can_pack(torch.float32)
    assert not can_pack(torch.bfloat16)
