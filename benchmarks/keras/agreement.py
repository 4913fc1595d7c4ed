"""Our side of what is compared without training: settings, first steps, transformed images."""

import json
import subprocess
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from falconet.training import keras, recipes
from falconet.training.augment import affine
from falconet.training.optimizer import SGD, Adam, RMSprop
from falconet.training.recipe import Recipe
from falconet.training.recipes.abhijeet_kumar import MaxNormLinear
from falconet.training.schedule import Steps

from ..gpu.estimate import training_images

SOURCE = Path(__file__).parent / "source.py"
RECIPES = {
    "episode2": "episode2_200",
    "elu": "elu",
    "shallow": "shallow",
    "vgg3_final_normalized": "vgg3_final_normalized",
}
STEPS = 10

Array = npt.NDArray[Any]


def recipe_of(network: str) -> Recipe:
    """Our recipe in float32."""
    return recipes.load(RECIPES[network]).override(["precision=float32"])


def batches_of(recipe: Recipe) -> int:
    """The number of batches of an epoch on CIFAR-10."""
    return training_images(recipe) // recipe.batch_size


def epochs_of(recipe: Recipe) -> list[int]:
    """The first and the last epoch, and those around changes of the learning rate."""
    assert isinstance(recipe.schedule, Steps)
    changes = [epoch for drop in recipe.schedule.drops for epoch in (drop - 1, drop)]
    return [0, *changes, recipe.epochs - 1]


def call(python: Path, *arguments: str) -> str:
    """What Keras' side prints.

    Raises:
        RuntimeError: it failed, with the end of what it said.
    """
    command = [str(python), str(SOURCE), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{ended.stderr[-2000:]}")
    return ended.stdout


def keras_settings(python: Path, network: str) -> dict[str, Any]:
    """Settings that Keras reports."""
    recipe = recipe_of(network)
    epochs = ",".join(map(str, epochs_of(recipe)))
    arguments = ["--epochs", epochs, "--batches", str(batches_of(recipe))]
    found: dict[str, Any] = json.loads(call(python, "settings", network, *arguments))
    return found


def our_settings(network: str) -> dict[str, Any]:
    """Our settings under the same names."""
    recipe = recipe_of(network)
    torch.manual_seed(0)
    model, _ = recipe.build(10)
    modules = list(model.modules())
    weighted = [each.weight for each in modules if isinstance(each, nn.Conv2d | nn.Linear)]
    norms = [each for each in modules if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d)]
    running = sum(v.numel() for name, v in model.named_buffers() if "running" in name)
    optimizer, schedule, augmentation = recipe.optimizer, recipe.schedule, recipe.augmentation
    assert isinstance(optimizer, SGD | Adam | RMSprop)
    assert isinstance(schedule, Steps)
    groups = optimizer.build(model).param_groups
    decays = [group["weight_decay"] for group in groups for _ in group["params"]]
    # Adam's two rates of smoothing are reported as momentum and smoothing of squares.
    momentum, squares = groups[0].get("betas", (groups[0].get("momentum"), 0.0))
    batches, epochs = batches_of(recipe), epochs_of(recipe)
    rate = optimizer.learning_rate
    found: dict[str, Any] = {
        "parameters": sum(v.numel() for v in model.parameters()) + running,
        "deviation of the weights at the start": [
            float(each.detach().std(correction=0)) for each in weighted
        ],
        "batch norm: new share, epsilon": [
            float(v) for pair in {(each.momentum, each.eps) for each in norms} for v in pair
        ],
        "dropout": [each.p for each in modules if isinstance(each, nn.Dropout)],
        "L2, in the loss": [decay / 2 for decay in decays if decay],  # a gradient is twice that
        "limit of the norms of a layer's outputs": [
            each.limit for each in modules if isinstance(each, MaxNormLinear)
        ],
        "optimizer": type(optimizer).__name__.lower(),
        "momentum": momentum,
        "smoothing of squares": groups[0].get("alpha", squares),
        "epsilon": groups[0].get("eps", 0.0),
        f"rate after {', '.join(map(str, epochs))} epochs": [
            rate * schedule.multiple(each * batches, batches, recipe.epochs) for each in epochs
        ],
        "batch size": recipe.batch_size,
        "precision": recipe.precision,
    }
    if augmentation.rotate:
        mirrored = augmentation.flip == "random"
        found["rotation, shifts, mirrored"] = [
            augmentation.rotate,
            *[augmentation.shift] * 2,
            mirrored,
        ]
    return found


def first_steps(python: Path, network: str, pixels: Array, labels: Array) -> dict[str, Any]:
    """Train both for some steps from the same weights on the same batches, without chance.

    In float64: RMSprop's first steps have the same size for any gradient, also for one that is only
    a rounding error, after which two runs in float32 have little in common.

    Args:
        python: with Keras.
        network: of :data:`RECIPES`.
        pixels: ``(N, 32, 32, 3)`` uint8, enough for the batches.
        labels: ``(N,)``.

    Returns:
        The largest differences: of the losses, as a share; of the probabilities after the last
        step, for which batch norms use their running statistics; of values of images, from 0 to 1,
        that both rotate and shift alike; and of images that Keras transforms one by one and in
        batches.
    """
    recipe = recipe_of(network)
    torch.manual_seed(1)
    model = recipe.build(10)[0].double()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    count = STEPS * recipe.batch_size
    x = (pixels[:count] / 255).reshape(STEPS, recipe.batch_size, *(32, 32, 3))
    images = x[0].astype(np.float32)
    if recipe.normalization == "pixels":
        x = (x - x.mean()) / x.std()
    y = labels[:count].reshape(STEPS, -1)
    random = np.random.default_rng(0)
    degrees = random.uniform(-15, 15, recipe.batch_size).astype(np.float32)
    shifts = random.uniform(-3.2, 3.2, (recipe.batch_size, 2)).astype(np.float32)  # in pixels
    weights = {f"weight{i}": value for i, value in enumerate(_keras_weights(model))}
    with TemporaryDirectory() as folder:
        given, answered = Path(folder) / "given.npz", Path(folder) / "answered.npz"
        np.savez(given, x=x, y=y, images=images, degrees=degrees, shifts=shifts, **weights)
        call(python, "steps", network, "--images", str(given), "--output", str(answered))
        theirs = dict(np.load(answered))
    inputs = torch.from_numpy(x).permute(0, 1, 4, 2, 3)
    losses = _train(recipe, model, inputs, torch.from_numpy(y))
    with torch.inference_mode():
        said = model.eval()(inputs[-1]).softmax(1).numpy()
    # Keras shifts in the rotated image's directions, and we in those of the given one.
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    right, down = shifts.T
    ours = np.stack([cos * right - sin * down, sin * right + cos * down], 1)
    originals = torch.from_numpy(images).permute(0, 3, 1, 2)
    moved = affine(originals, torch.from_numpy(degrees), torch.from_numpy(ours / 32))
    difference = np.abs(moved.permute(0, 2, 3, 1).numpy() - theirs["transformed"])
    return {
        "steps": STEPS,
        "first loss": losses[0],
        "last loss": losses[-1],
        "losses": float(np.abs(np.array(losses) / theirs["losses"] - 1).max()),
        "probabilities": float(np.abs(said - theirs["answers"]).max()),
        "transformed images": float(difference.max()),
        "transformed in batches": float(theirs["batch_difference"]),
    }


def _train(recipe: Recipe, model: nn.Module, x: Tensor, y: Tensor) -> list[float]:
    """The loss of each step."""
    optimizer = recipe.optimizer.build(model)
    batches = batches_of(recipe)
    losses = []
    for step, (images, labels) in enumerate(islice(zip(x, y, strict=True), STEPS)):
        multiple = recipe.schedule.multiple(step, batches, recipe.epochs)
        for group in optimizer.param_groups:
            group["lr"] = recipe.optimizer.learning_rate * multiple
            if isinstance(recipe.optimizer, Adam):
                _correct_as_keras(group, step + 1)
        loss = F.cross_entropy(model.train()(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _correct_as_keras(group: dict[str, Any], step: int) -> None:
    """Set PyTorch's rate and epsilon so that its Adam step equals Keras'.

    Keras adds epsilon before it corrects the second moment, and corrects with betas of float32,
    also in float64.
    """
    (first, second), (exact_first, exact_second) = (
        [1 - float(kind(beta)) ** step for beta in group["betas"]] for kind in (np.float32, float)
    )
    group["lr"] *= (second / exact_second) ** 0.5 * exact_first / first
    group["eps"] = keras.EPSILON / exact_second**0.5


def _keras_weights(model: nn.Module) -> list[Array]:
    """All weights in the order and layout of Keras: channels last."""
    found: list[Array] = []
    channels = 0  # of the last convolution, of which a first linear layer takes a map
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            channels = module.out_channels
            found.append(module.weight.detach().permute(2, 3, 1, 0).numpy().copy())
        elif isinstance(module, nn.Linear):
            weight = module.weight.detach()
            if channels:
                side = round((module.in_features / channels) ** 0.5)
                weight = weight.view(-1, channels, side, side).permute(0, 2, 3, 1).flatten(1)
                channels = 0
            found.append(weight.T.numpy().copy())
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            found += [module.weight.detach().numpy().copy(), module.bias.detach().numpy().copy()]
            assert module.running_mean is not None
            assert module.running_var is not None
            found += [module.running_mean.numpy().copy(), module.running_var.numpy().copy()]
            continue
        else:
            continue
        assert isinstance(module.bias, Tensor)
        found.append(module.bias.detach().numpy().copy())
    return found
