"""Falconet's own recipes: one network, after airbench, in several widths and lengths.

Network, whitening, identity initialization, alternating flip and triangular schedule follow
airbench94 and airbench96 (Keller Jordan, arXiv:2404.00498). Runs are longer, and accuracy is that
of one view of each test image. The recipes train on all 50,000 images. Their values were chosen
in earlier, shorter runs with 5,000 images held out.

On one A100, with six views of each test image, airbench94 reaches 94.01 % (n = 1000) in 3.83 s,
airbench95 95.01 % in 10.4 s, and airbench96 96.03 % (n = 400) in 34.7 s. fast94, fast95 and fast96
are named after them and promise no accuracy: docs/training.md has what they reached. fast94 is the
champion in fewer epochs; fast95 and fast96 have the widths of airbench95 and airbench96. small has
strides instead of pools, more layers of fewer channels, and learns fast96's outputs instead of
labels. small_int8, the included weights, continues from it.
"""

from dataclasses import replace

from falconet.model.network import ConvNet

from ..augment import Augmentation
from ..optimizer import SGD
from ..recipe import Recipe
from ..schedule import Triangle

CHAMPION = Recipe(
    name="champion",
    about="at most 120 M multiply-adds",
    network=ConvNet,
    arguments={"widths": (64, 192, 256)},
    validation=0,
    epochs=90,
    augmentation=Augmentation(flip="alternating", translate=4, cutout=10),
    optimizer=SGD(
        learning_rate=0.75,
        momentum=0.85,
        nesterov=True,
        weight_decay=1.3e-3,
        bias_rate=16.0,
    ),
    schedule=Triangle(),
    label_smoothing=0.1,
    ema_decay=0.99,
)

# Chosen in runs of 30 epochs with 5,000 images held out from teacher and student. With widths of
# 48, 128, 256 and one pair in each stage: 92.26 % without a teacher, and 92.30 % with it; less at a
# temperature of 1 or 4. From there: 92.72 without cutout, 92.70 at this rate, 92.66 at this decay.
# With all of these, cutmix and a teacher that sees mirror images as well: 93.96 with these widths
# and pairs; 93.94 with 64, 128, 256 and one pair each; 93.34 (32, 96, 224; 2, 2, 2), 93.26 (32, 96,
# 192; 2, 3, 2) and 92.56 (32, 80, 176; 3, 3, 3) with narrower and deeper networks.
SMALL = replace(
    CHAMPION,
    name="small",
    about="58 % of the champion's multiply-adds, taught by fast96",
    arguments={"widths": (48, 112, 192), "pairs": (1, 2, 2), "strided": True},
    augmentation=Augmentation(flip="alternating", translate=4, cutmix=1.0),
    optimizer=replace(CHAMPION.optimizer, learning_rate=0.4, weight_decay=6e-4),
    epochs=500,
    label_smoothing=0.0,
    teacher="fast96",
    temperature=2.0,
)

RECIPES = (
    CHAMPION,
    replace(
        CHAMPION,
        name="fast94",
        about="the champion in 24 epochs, with less augmentation",
        augmentation=Augmentation(flip="alternating", translate=3, cutout=6),
        epochs=24,
    ),
    replace(
        CHAMPION,
        name="fast95",
        about="the widths of airbench95, 30 epochs",
        arguments={"widths": (128, 384, 384)},
        augmentation=Augmentation(flip="alternating", translate=4, cutout=8),
        epochs=30,
    ),
    replace(
        CHAMPION,
        name="fast96",
        about="the widths of airbench96, 80 epochs",
        arguments={"widths": (128, 384, 512)},
        augmentation=Augmentation(flip="alternating", translate=4, cutout=12),
        epochs=80,
    ),
    SMALL,
    replace(
        SMALL,
        name="small_int8",
        about="the included weights: small, trained on for int8",
        begins_with="small",
        optimizer=replace(SMALL.optimizer, learning_rate=0.02),
        epochs=4,
        int8=True,
        precision="float32",  # as serving accumulates products of rounded values
    ),
)
