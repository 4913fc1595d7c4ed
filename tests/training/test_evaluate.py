"""Logits, wherever the images are."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from falconet.training import evaluate


@pytest.mark.usefixtures("with_tf32")
def test_float32_is_not_tf32() -> None:
    evaluate.logits(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.rand(5, 3, 2, 2))
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_images_are_moved_to_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that is mapped from a file stays on the CPU."""
    seen: list[str] = []

    def autocast(device: str, *_: object, **__: object) -> nullcontext[None]:
        seen.append(device)
        return nullcontext()

    monkeypatch.setattr(torch, "autocast", autocast)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3, device="meta"))
    found = evaluate.logits(network, torch.rand(5, 3, 2, 2), torch.bfloat16)
    assert (found.device.type, seen) == ("meta", ["meta"])
