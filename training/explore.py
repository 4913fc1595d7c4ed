"""A page about a data set: its images and classes, and the effect of augmentation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from falconet.model.spec import Spec
from falconet.native.data import Pixels

from . import augment, data, page
from .page import Section
from .plots import bars, grid
from .prepared import Normalize, prepare
from .recipe import Recipe

RANDOM, PER_CLASS, LARGEST = 24, 10, 20  # random images, images per class, and classes shown


def explore(source: Path | str, recipe: Recipe, folder: Path) -> Path:
    """Write ``index.html`` about a training set into a folder, and return its path.

    Args:
        source: as in :func:`falconet.training.data.load`.
        recipe: whose size, augmentation and seed are shown.
        folder: created if missing.
    """
    dataset = data.load(source, "train", recipe.formats)
    spec = recipe.spec(dataset.classes)
    found = prepare(dataset, np.arange(len(dataset.labels)), spec)
    pixels = found.images
    labels, classes = dataset.labels, dataset.classes
    random = np.random.default_rng(recipe.seed)
    some = random.permutation(len(pixels))[:RANDOM]
    counts = np.bincount(labels, minlength=len(classes))
    mean, std = data.statistics(pixels, "channels")

    each: list[Pixels] = []
    titles: list[str] = []
    means: list[Pixels] = []
    spec = replace(spec, mean=mean, std=std)
    for label, name in enumerate(classes[:LARGEST]):
        members = random.permutation(np.flatnonzero(labels == label))
        row = [pixels[i] for i in members[:PER_CLASS]]
        each += row + [np.full((1, 1, 3), 255, np.uint8)] * (PER_CLASS - len(row))
        titles += [name, *[""] * (PER_CLASS - 1)]
        means.append(np.rint(np.mean([pixels[i] for i in members], 0)).astype(np.uint8))

    normalize = Normalize(spec)
    batch = normalize(found.pixels[some])
    generator = torch.Generator().manual_seed(recipe.seed)
    chance = torch.rand(len(batch), augment.COLUMNS, generator=generator)
    cropped = recipe.augmentation.crop_and_jitter(
        found.pixels[some], chance, found.ratios[some], recipe.size
    )
    augmented = recipe.augmentation(normalize(cropped), chance, chance[:, augment.MIRROR] < 0.5)
    target = F.one_hot(torch.from_numpy(labels[some]), len(classes)).float()
    place = augment.draw_box(recipe.augmentation.cutmix or 1.0, *recipe.size, generator)
    mixed, shares = augment.cutmix(batch, target, place)
    mixed_titles = [
        "\n".join(f"{classes[i]} {share[i]:.0%}" for i in share.nonzero().flatten().tolist())
        for share in shares
    ]
    names = [classes[label] for label in labels[some]]
    channels = [["channel", "mean", "deviation"]]
    for name, m, s in zip(("red", "green", "blue"), mean, std, strict=True):
        channels.append([name, f"{m:.4f}", f"{s:.4f}"])
    shapes = sorted({(height, width) for height, width in found.sizes.tolist()})
    sizes = ", ".join(f"{width}x{height}" for height, width in shapes[:5])
    made = {
        "samples": grid([pixels[i] for i in some], names, 8),
        "classes": grid(each, titles, PER_CLASS),
        "counts": bars(classes, counts.tolist(), "images"),
        "means": grid(means, classes[:LARGEST], 10),
        "augmented": grid(_pixels(augmented, spec), names, 8),
        "cutmix": grid(_pixels(mixed, spec), mixed_titles, 8),
    }
    in_short = "Of values from 0 to 1, over all pixels of the resized images."
    parts = "A box of another image, and its share of the label."
    sections = [
        Section("By chance", file="samples", image=made["samples"]),
        Section("Each class", file="classes", image=made["classes"]),
        Section("How many of each", file="counts", image=made["counts"]),
        Section("Channels", in_short, rows=channels),
        Section("Mean image of each class", file="means", image=made["means"]),
        Section("Augmented", f"As {recipe.name}.", file="augmented", image=made["augmented"]),
        Section("CutMix", parts, file="cutmix", image=made["cutmix"]),
    ]
    more = ", ..." if len(shapes) > 5 else ""
    lead = f"{len(pixels):,} training images in {len(classes)} classes, {sizes}{more} pixels."
    return page.write(folder, f"Data set {Path(source).name}", lead, sections)


def _pixels(batch: torch.Tensor, spec: Spec) -> list[Pixels]:
    """Undo the normalization of a batch, ``(N, 3, height, width)``, and return its images."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    batch = batch * std + mean
    whole = (batch.clamp(0, 1) * 255).round().byte()
    return list(whole.permute(0, 2, 3, 1).numpy())
