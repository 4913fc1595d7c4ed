"""Three VGG blocks (arXiv:1409.1556), by TheKermitFrog, cifar10-CNN (GitHub).

A block has two 3x3 convolutions and a pool; two hidden layers follow. The baseline overfits. The
source adds batch norm, L2, dropout and augmentation to it, each alone, and then all of them.
Layers, rates and batch size are those of the repository's notebooks.
"""

from dataclasses import replace

from torch import Tensor, nn

from falconet.model.registry import register

from .. import keras
from ..augment import Augmentation
from ..optimizer import Adam
from ..recipe import Recipe, Reference
from ..schedule import Steps


@register
class Vgg(nn.Module):
    """Blocks of two convolutions and a pool, then hidden layers; a norm comes after its ReLU.

    Args:
        classes: outputs.
        size: ``(height, width)`` of the images.
        widths: channels of each block.
        hidden: sizes of the hidden layers.
        batch_norm: whether a batch norm follows each convolution.
        dropout: after each block.
        hidden_norm: whether a batch norm follows each hidden layer.
        hidden_dropout: after each hidden layer.
    """

    def __init__(
        self,
        classes: int,
        size: tuple[int, int],
        widths: tuple[int, ...] = (32, 64, 128),
        hidden: tuple[int, ...] = (256, 256),
        batch_norm: bool = False,
        dropout: tuple[float, ...] = (),
        hidden_norm: bool = False,
        hidden_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dropout and len(dropout) != len(widths):
            raise ValueError(f"expected a dropout for each of {widths}, or none, got {dropout}")
        layers: list[nn.Module] = []
        channels = 3
        for block, width in enumerate(widths):
            for _ in range(2):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                layers += [keras.norm2d(width)] if batch_norm else []
                channels = width
            layers += [nn.MaxPool2d(2)]
            layers += [nn.Dropout(dropout[block])] if dropout else []
        layers += [nn.Flatten()]
        features = channels * (size[0] >> len(widths)) * (size[1] >> len(widths))
        for width in hidden:
            layers += [nn.Linear(features, width), nn.ReLU()]
            layers += [keras.norm1d(width)] if hidden_norm else []
            layers += [nn.Dropout(hidden_dropout)] if hidden_dropout else []
            features = width
        self.layers = nn.Sequential(*layers, nn.Linear(features, classes))
        keras.initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def published(accuracy: float, protocol: str = "last epoch, test set as validation") -> Reference:
    return Reference("TheKermitFrog, cifar10-CNN (GitHub)", accuracy, protocol)


AUGMENTATION = Augmentation(rotate=10, shift=0.1, flip="random")

# The notebooks only divide by 255. No mean is subtracted.
CENTERED = 'the text\'s "centering each pixel" is a division by 255, as in its notebooks'

VGG3 = Recipe(
    name="vgg3",
    about="baseline of three VGG blocks",
    network=Vgg,
    reference=published(
        0.76, "last epoch, test set as validation; read off a plot, the text says 70 %"
    ),
    assumed=(CENTERED,),
    normalization="no",
    hold_out="test",
    validation=0,
    epochs=100,
    batch_size=64,
    optimizer=Adam(),
    schedule=Steps(),
)

# All four methods together. The text gives 86.25 % for this rate; the notebook's 3e-4 gave 86.65 %.
FINAL = replace(
    VGG3,
    name="vgg3_final",
    about="the final VGG, pixels from 0 to 1",
    reference=published(0.8625),
    arguments={
        "hidden": (128,),
        "batch_norm": True,
        "dropout": (0.2, 0.3, 0.4),
        "hidden_norm": True,
        "hidden_dropout": 0.5,
    },
    optimizer=Adam(weight_decay=2e-4, decayed="hidden"),
    augmentation=AUGMENTATION,
    epochs=75,
)

# The source normalizes by one mean over all pixels of the training set, and by mistake by the
# deviation of the test set: 64.06 of 255, where the training set has 64.15. Here both are the
# training set's.
FINAL_NORMALIZED = replace(
    FINAL,
    name="vgg3_final_normalized",
    about="the final VGG, normalized pixels",
    reference=published(0.8733),
    assumed=("rate of 1e-3, as in the run that the text compares it with",),
    normalization="pixels",
)

FINAL_250 = replace(
    FINAL_NORMALIZED,
    name="vgg3_final_250",
    about="the final VGG, 250 epochs",
    reference=published(0.889, "last epoch, test set as validation; the best on it had 90.14 %"),
    assumed=(),
    optimizer=Adam(learning_rate=3e-4, weight_decay=2e-4, decayed="hidden"),
    epochs=250,
)

# The published model. Here it is one run. The source starts a new optimizer for the last 25 epochs,
# as `falconet train vgg3_final_250 --init-from RUN/weights.pt epochs=25 learning_rate=1e-4` does.
FINAL_275 = replace(
    FINAL_250,
    name="vgg3_final_275",
    about="the final VGG, 250 epochs and 25 at a lower rate",
    reference=published(
        0.9087, "last and best of 25 epochs from 89.69 % up, test set as validation"
    ),
    schedule=Steps(drops=(250,), multiples=(1 / 3,)),
    epochs=275,
    after="vgg3_final_250",
)

RECIPES = (
    replace(
        VGG3,
        name="vgg1",
        about="baseline of one VGG block",
        reference=published(0.6659),
        arguments={"widths": (32,)},
    ),
    replace(
        VGG3,
        name="vgg2",
        about="baseline of two VGG blocks",
        reference=published(0.70, "around that, says the text; test set as validation"),
        arguments={"widths": (32, 64)},
    ),
    VGG3,
    replace(
        VGG3,
        name="vgg3_batch_norm",
        about="three VGG blocks, batch norm",
        reference=published(0.8237),
        arguments={"batch_norm": True},
    ),
    replace(
        VGG3,
        name="vgg3_l2",
        about="three VGG blocks, L2 on the filters",
        reference=published(0.7556),
        optimizer=Adam(weight_decay=2e-4, decayed="convolutions"),  # Keras' l2(1e-4)
    ),
    replace(
        VGG3,
        name="vgg3_dropout",
        about="three VGG blocks, dropout",
        reference=published(0.7904),
        arguments={"dropout": (0.2, 0.2, 0.2)},
    ),
    replace(
        VGG3,
        name="vgg3_augmented",
        about="three VGG blocks, augmentation",
        reference=published(0.8469),
        augmentation=AUGMENTATION,
        epochs=75,
    ),
    FINAL,
    FINAL_NORMALIZED,
    FINAL_250,
    FINAL_275,
)
