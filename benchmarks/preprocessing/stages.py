"""The stages apart, decoding and resizing; and all together, from the bytes of a JPEG."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision import io

from falconet.handler.classifier import HEADROOM
from falconet.native import Preprocessor, implementations, resize
from falconet.native.decode import Encoded, decode

from ..images import jpeg, photograph
from .installed import cv2, imagecodecs, kornia, pyvips, torchcodec
from .job import Contender, Job
from .peers import Peer, peers
from .task import SHORTER, SIDE, bytes_of, corner, on_pil, resized, with_pillow

MAX_PIXELS = 100_000_000
FRACTION = "decoded at a fraction"

EXACT = "Falconet, exact"
FAST = "Falconet, fast"


def decoding(size: tuple[int, int]) -> Job:
    """From the bytes of a JPEG to pixels, as each library hands them out."""
    data = jpeg(*size)
    encoded = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
    contenders = [
        Contender(EXACT, partial(decode, data, MAX_PIXELS), exact=True),
        Contender("simplejpeg", lambda: simplejpeg.decode_jpeg(data)),
        Contender("Pillow", lambda: _loaded(data)),
        Contender("torchvision.io", lambda: io.decode_jpeg(encoded)),
    ]
    if cv2:
        array = np.frombuffer(data, np.uint8)
        color = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        contenders.append(Contender("OpenCV", lambda: cv2.imdecode(array, color)))
    if imagecodecs:
        contenders.append(Contender("imagecodecs", lambda: imagecodecs.jpeg8_decode(data)))
    if torchcodec:
        contenders.append(Contender("torchcodec", lambda: torchcodec.decode_jpeg(encoded)))
    if pyvips:
        load = partial(pyvips.Image.new_from_buffer, data, "", access="sequential")
        contenders.append(Contender("pyvips", lambda: load().numpy()))
    if kornia:
        load_rgb = partial(kornia.io.decode_image_jpegturbo, data, "rgb")
        contenders.append(Contender("kornia-rs", load_rgb))
    return Job(
        "decode",
        contenders,
        right=np.asarray(_loaded(data)),
        size=size,
        extra={"jpeg_bytes": len(data)},
    )


def resizing(size: tuple[int, int], filter: Any) -> Job:
    """From bytes to bytes, the whole image."""
    image, target = photograph(*size), resized(*size)
    contenders = [
        Contender(
            f"Falconet, {name}",
            partial(resize, image, target, filter=filter, implementation=name),
            exact=True,
        )
        for name in implementations()
    ]
    for peer in peers(size, filter):
        # On PIL images torchvision's Resize is Pillow's.
        if peer.name == "torchvision on PIL" or "planar" in peer.name:
            continue
        name = peer.name.removesuffix(" and NumPy")
        contenders.append(
            Contender(name, partial(peer.resized, peer.prepare(image)), note=peer.note)
        )
    right = with_pillow(image, filter)
    return Job("resize", contenders, right=right, size=size, filter=filter)


def from_jpeg(size: tuple[int, int], filter: Any) -> Job:
    """From the bytes of a JPEG to the batch."""
    data = jpeg(*size)
    preprocess = Preprocessor((SIDE, SIDE), resize=SHORTER, filter=filter, threads=1)
    out = np.empty((1, 3, SIDE, SIDE), np.float32)
    target = resized(*size)
    least = (HEADROOM * target[0], HEADROOM * target[1])

    def exact() -> Any:
        return preprocess([decode(data, MAX_PIXELS)], out=out)

    def fast() -> Any:
        return preprocess([Encoded(data, MAX_PIXELS).decode(least)], out=out)

    contenders = [Contender(EXACT, exact, exact=True), Contender(FAST, fast, note=FRACTION)]
    found = [peer for peer in peers(size, filter) if peer.decode]
    for peer in list(found):
        if peer.name == "torchvision on PIL":
            draft = partial(_draft, target)
            found.append(replace(peer, name=f"{peer.name}, draft", decode=draft, note=FRACTION))
        if peer.name == "pyvips":
            thumbnail = partial(_thumbnail, target)
            found.append(
                replace(
                    peer,
                    name="pyvips thumbnail",
                    decode=thumbnail,
                    together=peer.normalize,
                    note=FRACTION,
                )
            )
    contenders += [Contender(peer.name, _whole(peer, data), note=peer.note) for peer in found]
    image = Image.open(BytesIO(data))
    top, left = corner(*size)
    right = with_pillow(np.asarray(image), filter)[top : top + SIDE, left : left + SIDE]
    return Job(
        "from JPEG",
        contenders,
        right=right[None],
        pixels=bytes_of,
        normalized=on_pil(filter)(image).numpy()[None],
        size=size,
        filter=filter,
        extra={"jpeg_bytes": len(data)},
    )


def _loaded(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


def _whole(peer: Peer, data: bytes) -> Callable[[], Any]:
    decode = peer.decode
    assert decode
    return lambda: peer.process(decode(data))[None]


def _draft(target: tuple[int, int], data: bytes) -> Image.Image:
    """At a half, a quarter or an eighth, as long as that is not below the target."""
    image = Image.open(BytesIO(data))
    image.draft("RGB", (target[1], target[0]))
    return image.convert("RGB")


def _thumbnail(target: tuple[int, int], data: bytes) -> Any:
    """It chooses the fraction by itself, and the filter."""
    assert pyvips
    height, width = target
    return pyvips.Image.thumbnail_buffer(data, width, height=height, size="force")
