"""What a file may say of the items in it, before its decoder sees them."""

import io
import struct
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from falconet.native import av1
from falconet.native.decode import Decoder
from falconet.native.errors import DamagedImageError, ImageError, UnsupportedFormatError
from falconet.native.formats import DEFAULT
from falconet.native.isobmff import prepare

AVIF = Decoder((*DEFAULT, "AVIF"))


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *content: bytes, version: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24), *content)


def file(
    kinds: Sequence[bytes],
    *,
    lengths: Sequence[int] = (),
    sizes: Sequence[tuple[int, int]] = (),
    profile: int = 0,
    references: Sequence[tuple[bytes, int, Sequence[int]]] = (),
    rest: bytes = b"",
) -> bytes:
    """Items of these kinds, numbered from 1, with sizes, and all with one color profile."""
    infe = [full(b"infe", struct.pack(">HH4s", i, 0, k), version=2) for i, k in enumerate(kinds, 1)]
    iloc = [struct.pack(">HHHII", i, 0, 1, 0, n) for i, n in enumerate(lengths, 1)]
    ispe = [full(b"ispe", struct.pack(">II", *size)) for size in sizes]
    colr = box(b"colr", b"prof", bytes(profile))
    ipma = [struct.pack(">HBBB", i, 2, i, len(ispe) + 1) for i in range(1, len(ispe) + 1)]
    iref = [
        box(kind, struct.pack(f">HH{len(to)}H", source, len(to), *to))
        for kind, source, to in references
    ]
    meta = full(
        b"meta",
        full(b"iinf", struct.pack(">H", len(infe)), *infe),
        full(b"iloc", b"\x44\x00", struct.pack(">H", len(iloc)), *iloc),
        box(b"iprp", box(b"ipco", *ispe, colr), full(b"ipma", struct.pack(">I", len(ipma)), *ipma)),
        full(b"iref", *iref),
    )
    return box(b"ftyp", b"heic\0\0\0\0mif1") + meta + rest


PART = (b"dimg", 1, [2])
GRID = [(4000, 3000), *[(512, 512)] * 48]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (file([b"hvc1"] * 2001), "at most 2000 items"),
        (file([b"hvc1"], references=[(b"dimg", 1, [1] * 2001)]), "at most 2000 items"),
        (file([b"hvc1"] * 2, sizes=[(9, 9)] * 2, profile=3 << 20), "profiles of at most"),
        (
            file([b"hvc1", b"Exif"], lengths=[9, 3 << 20], references=[(b"cdsc", 2, [1, 1])]),
            "texts and color profiles of at most 4194304 bytes, got 6291456",
        ),
        (file([b"iovl"]), "several that overlay each other"),
        (
            file([b"grid", b"hvc1"], sizes=[(64, 64), (4000, 3000)], references=[PART]),
            "of parts no larger than it",
        ),
        (full(b"meta", box(b"grpl", bytes(3000))), "got a collection of them"),
        (full(b"meta", full(b"iinf"), full(b"iinf")), "says twice what it is"),
        (full(b"meta", *[box(b"free")] * 10_001), "(says twice|at most 10000 boxes)"),
        (full(b"meta", full(b"iinf", b"\0\0", *[box(b"infe")] * 10_001)), "at most 10000 boxes"),
    ],
)
def test_what_would_cost_too_much_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DamagedImageError, match=message):
        prepare(data)


def test_what_phones_send_is_not() -> None:
    """A grid of tiles with a profile, Exif and a thumbnail."""
    data = file(
        [b"grid", *[b"hvc1"] * 48, b"Exif"],
        lengths=[8, *[20_000] * 48, 70_000],
        sizes=GRID,
        profile=600,
        references=[(b"dimg", 1, range(2, 50)), (b"cdsc", 50, [1])],
    )
    assert prepare(data) is data


def avif(width: int = 160, height: int = 96, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "AVIF", **options)
    return out.getvalue()


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4", "4:0:0"])
@pytest.mark.parametrize("size", [(1, 1), (17, 300), (2000, 9)])
def test_sizes_are_read_from_the_images(size: tuple[int, int], subsampling: str) -> None:
    data = avif(*size, subsampling=subsampling)
    at = data.index(b"mdat") + 4
    assert list(av1.sizes(data[at:])) == [size]
    assert AVIF.decode(data).shape == (size[1], size[0], 3)


def test_a_image_larger_than_it_says_is_refused() -> None:
    data = avif()
    at = data.index(b"ispe") + 8
    for width, height in ((159, 96), (160, 95), (1, 1)):
        lying = data[:at] + struct.pack(">II", width, height) + data[at + 8 :]
        with pytest.raises(DamagedImageError, match=rf"states a size of \({width}, {height}\)"):
            AVIF.decode(lying)


def test_an_avif_may_call_itself_a_image_of_any_kind() -> None:
    data = avif()
    length = int.from_bytes(data[:4], "big")
    renamed = box(b"ftyp", b"mif1\0\0\0\0miafavif".ljust(length - 8, b" ")) + data[length:]
    np.testing.assert_array_equal(AVIF.decode(renamed), AVIF.decode(data))
    with pytest.raises(UnsupportedFormatError, match="a sequence of AVIF or HEIC images"):
        AVIF.decode(data.replace(b"ftypavif", b"ftypavis"))


def test_damaged_ones_are_refused_or_decoded() -> None:
    random = np.random.default_rng(1)
    whole = avif()
    outcomes = set()
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(random.integers(1, 6)):
            data[random.integers(4, len(data) if random.random() < 0.2 else 400)] = random.integers(
                256
            )
        try:
            AVIF.decode(bytes(data[: random.integers(1, 5 * len(data))]))
            outcomes.add("decoded")
        except ImageError as error:
            outcomes.add(type(error).__name__)
    assert {"decoded", "DamagedImageError", "UnsupportedFormatError"} <= outcomes
