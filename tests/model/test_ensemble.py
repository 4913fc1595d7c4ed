from collections.abc import Iterator

import pytest
import torch
from torch import nn

from falconet.model.cost import cost
from falconet.model.ensemble import Ensemble
from falconet.model.folding import fold
from falconet.model.network import ConvNet
from falconet.model.registry import NETWORKS, register


@pytest.fixture
def members() -> list[ConvNet]:
    made = []
    for seed in range(3):
        torch.manual_seed(seed)
        network = ConvNet((8, 8, 8), classes=4)
        network.initialize_whitening(torch.rand(16, 3, 32, 32))
        made.append(network.eval())
    return made


@pytest.fixture
def ensemble(members: list[ConvNet]) -> Ensemble:
    ensemble = Ensemble("ConvNet", {"widths": (8, 8, 8), "classes": 4}, 3)
    ensemble.load_members([member.state_dict() for member in members])
    return ensemble.eval()


@torch.inference_mode()
def test_it_answers_with_the_mean(ensemble: Ensemble, members: list[ConvNet]) -> None:
    x = torch.randn(10, 3, 32, 32)
    mean = sum(member(x).softmax(1) for member in members) / 3
    torch.testing.assert_close(ensemble(x).softmax(1), mean)


@torch.inference_mode()
def test_folding_keeps_the_answer_and_the_original(ensemble: Ensemble) -> None:
    x = torch.randn(10, 3, 32, 32)
    before = ensemble(x)
    folded = fold(ensemble)
    torch.testing.assert_close(folded(x), before, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(ensemble(x), before, rtol=0, atol=0)


def test_it_costs_as_much_as_all(ensemble: Ensemble, members: list[ConvNet]) -> None:
    one = cost(members[0], (32, 32))
    assert cost(ensemble, (32, 32)) == (3 * one.parameters, 3 * one.multiply_adds)


def test_cost_by_hand() -> None:
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 6 * 5, 7)
    )
    parameters = 3 * 8 * 9 + 8 + 2 * 8 + 8 * 30 * 7 + 7
    assert cost(layers, (6, 5)) == (parameters, 3 * 8 * 9 * 30 + 8 * 30 * 7)


@pytest.fixture
def registry() -> Iterator[None]:
    before = dict(NETWORKS)
    yield
    NETWORKS.clear()
    NETWORKS.update(before)


@pytest.mark.usefixtures("registry")
def test_two_networks_cannot_have_one_name() -> None:
    @register
    class Tiny(nn.Module):
        pass

    assert NETWORKS["Tiny"] is Tiny
    with pytest.raises(ValueError, match="there is a network Tiny already"):
        register(type("Tiny", (nn.Module,), {}))
