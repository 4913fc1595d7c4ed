"""The networks that a weights file may hold, by the names of their classes."""

from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=type[nn.Module])

NETWORKS: dict[str, type[nn.Module]] = {}


def register(network: Network) -> Network:
    """Class decorator: weights of this network can be loaded once its module is imported.

    Raises:
        ValueError: another network has that name.
    """
    if network.__name__ in NETWORKS:
        raise ValueError(f"there is a network {network.__name__} already; choose another name")
    NETWORKS[network.__name__] = network
    return network
