import pytest
import torch
from torch import nn

from falconet.model.network import ConvNet


@pytest.fixture
def network() -> ConvNet:
    """With batch norms that have seen data, and so have something to fold."""
    torch.manual_seed(0)
    network = ConvNet((16, 24, 32), pairs=(1, 2, 0), classes=7)
    network.initialize_whitening(torch.rand(64, 3, 32, 32))
    network.train()
    for _ in range(5):
        network(torch.randn(32, 3, 32, 32) * 2 + 1)
    for parameter in network.parameters():
        if parameter.ndim == 1 and parameter.requires_grad:
            nn.init.normal_(parameter)
    return network.eval()


@pytest.mark.parametrize("size", [(32, 32), (48, 64), (9, 9)])
def test_takes_images_of_any_size(network: ConvNet, size: tuple[int, int]) -> None:
    assert network(torch.randn(2, 3, *size)).shape == (2, 7)


def test_folds_to_the_same_function(network: ConvNet) -> None:
    images = torch.randn(50, 3, 32, 32)
    folded = network.folded()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), network(images), rtol=1e-4, atol=1e-4)


def test_folding_leaves_the_network_as_it_was(network: ConvNet) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.folded()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_whitening_decorrelates_patches() -> None:
    random = torch.Generator().manual_seed(0)
    smooth = nn.functional.avg_pool2d(torch.randn(200, 3, 20, 20, generator=random), 5, 1)
    network = ConvNet()
    network.initialize_whitening(smooth)
    with torch.inference_mode():
        responses = network.whiten(smooth)[:, :12].transpose(0, 1).flatten(1)
    covariance = responses @ responses.T / responses.shape[1]
    off_diagonal = covariance - covariance.diag().diag()
    assert off_diagonal.abs().max() < 1e-3
    # Not quite 1 where there is hardly any variance: there the filters are held back.
    assert covariance.diag().min() > 0.3
    assert covariance.diag().max() < 1.001


def test_pairs_are_of_convolutions_with_a_shortcut() -> None:
    def convolutions(network: ConvNet) -> int:
        return sum(isinstance(module, nn.Conv2d) for module in network.modules())

    assert convolutions(ConvNet((8, 8))) == 1 + 3 + 3
    assert convolutions(ConvNet((8, 8), pairs=(2, 3))) == 1 + 5 + 7
    with pytest.raises(ValueError, match=r"a number of pairs for each of \(8, 8\), got \(1,\)"):
        ConvNet((8, 8), pairs=(1,))
