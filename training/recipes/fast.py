"""The fast one, made for an hour or so on two CPU cores.

It made the weights that come along; what they reach is in model/pretrained/cifar10.md.

Network, whitening, identity initialization, alternating flip and triangular schedule follow
airbench94 (Keller Jordan, arXiv:2404.00498), with more epochs and cutout (arXiv:1708.04552) in
place of its averaging over six views of each test picture.
"""

from ..recipe import Recipe

RECIPE = Recipe(
    name="fast",
    about="whitened convolutions with shortcuts, SGD, averaged weights",
    top_k=10,
    epochs=64,
    learning_rate=0.75,
    weight_decay=1.3e-3,
    translate=4,
    cutout=10,
)
