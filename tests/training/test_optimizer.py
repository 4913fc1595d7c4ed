"""Steps are compared with formulas written out."""

import math

import pytest
import torch
from torch import nn

from falconet.training.optimizer import SGD, Adam, Decayed, Optimizer, RMSprop, load_moments


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 5), nn.Linear(5, 2)
    )


def moved(network: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """How far a step with gradients of zero moves each parameter, as a share of its value."""
    nn.init.ones_(network[1].weight)  # type: ignore[index, arg-type]
    nn.init.ones_(network[1].bias)  # type: ignore[index, arg-type]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    built = optimizer.build(network)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    built.step()
    return {n: (before[n] - p.detach()) / before[n] for n, p in network.named_parameters()}


def test_loaded_moments_have_the_layout_of_the_parameters(network: nn.Sequential) -> None:
    first = SGD().build(network)
    for parameter in network.parameters():
        parameter.grad = torch.rand_like(parameter)
    first.step()
    state = first.state_dict()["state"]
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    second = SGD().build(network)
    load_moments(second, state)
    for parameter in network.parameters():
        moment = second.state[parameter]["momentum_buffer"]
        assert moment.stride() == parameter.stride()
        assert torch.equal(moment, first.state[parameter]["momentum_buffer"])


@pytest.mark.parametrize(
    ("decayed", "names"),
    [
        (
            "all",
            {
                "0.weight",
                "0.bias",
                "1.weight",
                "1.bias",
                "3.weight",
                "3.bias",
                "4.weight",
                "4.bias",
            },
        ),
        ("weights", {"0.weight", "3.weight", "4.weight"}),
        ("hidden", {"0.weight", "3.weight"}),
        ("convolutions", {"0.weight"}),
    ],
)
def test_decay_falls_on_what_is_named(
    network: nn.Sequential, decayed: Decayed, names: set[str]
) -> None:
    shares = moved(network, SGD(learning_rate=0.5, weight_decay=0.01, decayed=decayed))
    for name, share in shares.items():
        expected = torch.full_like(share, 0.005 if name in names else 0.0)
        torch.testing.assert_close(share, expected, msg=name, rtol=1e-3, atol=1e-6)


def test_biases_have_their_rate_and_the_same_decay_a_step(network: nn.Sequential) -> None:
    optimizer = SGD(learning_rate=0.5, weight_decay=0.01, bias_rate=16.0).build(network)
    for group in optimizer.param_groups:
        vectors = {parameter.ndim == 1 for parameter in group["params"]}
        assert len(vectors) == 1
        assert group["lr"] == (8.0 if vectors == {True} else 0.5)
        assert group["lr"] * group["weight_decay"] == pytest.approx(0.005)


def test_frozen_parameters_are_left_out(network: nn.Sequential) -> None:
    network[0].weight.requires_grad_(False)
    optimizer = SGD(weight_decay=0.1, decayed="weights").build(network)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 7


def test_rmsprop_steps_as_keras_does() -> None:
    parameter = nn.Parameter(torch.tensor([[2.0]]))
    holder = nn.Module()
    holder.weight = parameter
    optimizer = RMSprop(learning_rate=0.1).build(holder)
    value, squares = 2.0, 0.0
    for gradient in (0.5, -1.5, 3.0):
        parameter.grad = torch.tensor([[gradient]])
        optimizer.step()
        squares = 0.9 * squares + 0.1 * gradient**2
        value -= 0.1 * gradient / (math.sqrt(squares) + 1e-7)
        assert parameter.item() == pytest.approx(value, rel=1e-5)


def test_adam_adds_l2_to_the_gradient() -> None:
    """Keras' l2(x) adds 2 x w to it: with no other gradient, a whole step of the rate."""
    holder = nn.Module()
    holder.weight = nn.Parameter(torch.tensor([[2.0]]))
    optimizer = Adam(learning_rate=0.1, weight_decay=0.01).build(holder)
    holder.weight.grad = torch.zeros(1, 1)
    optimizer.step()
    assert holder.weight.item() == pytest.approx(1.9, abs=1e-4)
