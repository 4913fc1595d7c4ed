"""From decoded images to a normalized batch, and the normalization alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from falconet.native import IMAGENET_MEAN, IMAGENET_STD, Preprocessor, implementations

from ..images import photographs
from .installed import kornia
from .job import Contender, Job
from .peers import normalized, normalized_by_kornia, peers
from .task import MEAN, SHORTER, SIDE, STD, Array, bytes_of, corner, moved, on_pil, with_pillow

BATCH = 8  # images, where threads share them
SMALL = 64  # images of 32x32
SIZES_IN_TURN = 100  # more than coefficients are kept for

# Not asked again with threads, being slower than, or nearly the same as, torchvision's usual ways.
ALONE = ("torchvision v2 on planar tensors", "Pillow and NumPy")
COLD = ("torchvision v2 on tensors", "torchvision on PIL")


def batch(size: tuple[int, int], filter: str, threads: int, cold: bool = False) -> Job:
    """Resize the shorter side, crop the center, normalize."""
    count = 1 if threads == 1 else BATCH
    images = photographs(count, *size)
    contenders = [
        ours(images, (SIDE, SIDE), SHORTER, filter, threads=threads, implementation=name)
        for name in implementations()[: 1 if cold or threads > 1 else None]
    ]
    pool = ThreadPoolExecutor(threads)
    for peer in peers(size, filter):
        if (cold and peer.name not in COLD) or (threads > 1 and peer.name in ALONE):
            continue
        prepared = [peer.prepare(image) for image in images]
        call = _each(peer.process, prepared, pool if threads > 1 else None)
        contenders.append(Contender(peer.name, call, note=peer.note))
    top, left = corner(*size)
    whole = np.stack([with_pillow(image, filter) for image in images])
    compose = on_pil(filter)
    return Job(
        "batch",
        contenders,
        right=whole[:, top : top + SIDE, left : left + SIDE],
        pixels=bytes_of,
        normalized=np.stack([compose(Image.fromarray(image)).numpy() for image in images]),
        size=size,
        filter=filter,
        threads=threads,
        images=count,
        cold=cold,
        extra={"bytes_moved": count * moved(size, filter)},
    )


def new_sizes() -> Job:
    """Images of which each has a size that was not seen lately."""
    sizes = [(500 + i % 25, 375 + i // 25) for i in range(SIZES_IN_TURN)]
    images = [photographs(1, *each)[0] for each in sizes]
    contenders = [ours(images, (SIDE, SIDE), SHORTER, "bilinear", threads=1)]
    for peer in peers((500, 375), "bilinear"):
        if peer.name == COLD[0]:
            call = _each(peer.process, [peer.prepare(image) for image in images])
            contenders.append(Contender(peer.name, call, note=peer.note))
    right, compose = [], on_pil("bilinear")
    for image, size in zip(images, sizes, strict=True):
        top, left = corner(*size)
        whole = with_pillow(image, "bilinear")
        right.append(whole[top : top + SIDE, left : left + SIDE])
    return Job(
        "new sizes",
        contenders,
        right=np.stack(right),
        pixels=bytes_of,
        normalized=np.stack([compose(Image.fromarray(image)).numpy() for image in images]),
        size=(500, 375),
        images=SIZES_IN_TURN,
    )


def normalization(count: int, side: int) -> Job:
    """Nothing but the normalization, of images that have their size already."""
    small = photographs(count, side, side)
    images = [Image.fromarray(image) for image in small]
    tensors = [torch.from_numpy(image).permute(2, 0, 1) for image in small]
    on_tensor = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    )
    scale = torch.from_numpy(1 / (255 * STD))[:, None, None]
    offset = torch.from_numpy(-MEAN / STD)[:, None, None]
    compose = on_pil(None)
    contenders = [
        ours(small, (side, side), None, "bilinear", threads=1, implementation=name)
        for name in implementations()
    ]
    contenders += [
        Contender("torchvision on PIL", _each(compose, images)),
        Contender("torchvision v2 on tensors", _each(on_tensor, tensors)),
        Contender("torch multiply and add", lambda: torch.stack(tensors).float() * scale + offset),
        Contender("NumPy", _each(normalized, small)),
    ]
    if count > 1:
        contenders += [
            Contender("torchvision v2 on one stack", lambda: on_tensor(torch.stack(tensors))),
            Contender(
                "NumPy on one stack",
                lambda: np.ascontiguousarray(
                    ((np.stack(small).astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
                ),
            ),
        ]
    if kornia:
        contenders.append(Contender("kornia-rs", _each(normalized_by_kornia, small)))
    return Job(
        "normalize",
        contenders,
        right=np.stack(small),
        pixels=bytes_of,
        normalized=np.stack([compose(image).numpy() for image in images]),
        size=(side, side),
        images=count,
    )


def ours(
    images: list[Array], size: tuple[int, int], resize: int | None, filter: Any, **how: Any
) -> Contender:
    """Our preprocessing into memory that is there."""
    channels = images[0].shape[2]
    mean, std = IMAGENET_MEAN[:channels], IMAGENET_STD[:channels]
    preprocess = Preprocessor(size, resize=resize, filter=filter, mean=mean, std=std, **how)
    out = np.empty((len(images), channels, *size), np.float32)
    name = f"Falconet, {preprocess.implementation}"
    return Contender(name, lambda: preprocess(images, out=out), exact=True)


def _each(
    process: Callable[[Any], Any], images: list[Any], pool: ThreadPoolExecutor | None = None
) -> Callable[[], Any]:
    """Image by image into a batch; one image is a batch without a copy."""
    if len(images) == 1:
        return lambda: process(images[0])[None]
    each = pool.map if pool else map

    def call() -> Any:
        answers = list(each(process, images))
        return torch.stack(answers) if isinstance(answers[0], torch.Tensor) else np.stack(answers)

    return call
