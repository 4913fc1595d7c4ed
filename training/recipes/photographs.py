"""Transfer to own photographs: a backbone trained on ImageNet, with a new last layer.

Rates, epochs and crops have usual values, which were not measured. Choose better ones for your
photographs by the accuracy on the images held out.
"""

from falconet.model.backbone import DEFAULT, Backbone

from ..augment import Augmentation
from ..optimizer import SGD
from ..recipe import Recipe
from ..schedule import Triangle

RECIPES = (
    Recipe(
        name="transfer",
        about="own photographs: a backbone of torchvision or timm (--init-from), new last layer",
        network=Backbone,
        arguments={"backbone": DEFAULT},
        size=(224, 224),
        orientation="exif",
        normalization="own",
        validation=100,
        epochs=15,
        batch_size=16,
        augmentation=Augmentation(
            random_crop=0.35,
            flip="random",
            brightness=0.2,
            contrast=0.2,
            saturation=0.2,
        ),
        optimizer=SGD(learning_rate=0.01, nesterov=True, weight_decay=1e-4, decayed="weights"),
        schedule=Triangle(),
        backbone_rate=0.1,
        precision="auto",
        label_smoothing=0.1,
    ),
)
