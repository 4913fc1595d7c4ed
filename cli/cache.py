"""--cache, for commands that train."""

import re
from typing import Any

import click

UNITS = {"": 0, "k": 10, "m": 20, "g": 30}


class Bytes(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes, with k, m or g for KiB, MiB or GiB."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+)([kmg]?)", str(value).lower())
        if not found:
            self.fail(f"expected a size like 500m or 2g, got {value!r}", param, ctx)
        return int(found[1]) << UNITS[found[2]]


cache_option = click.option(
    "--cache",
    type=Bytes(),
    default="2g",
    show_default=True,
    metavar="SIZE",
    help="Maximum size of the resized images in memory, for the training set and the images held "
    "out each, in each process; more are mapped from a temporary file in the run's folder. k, m "
    "and g stand for KiB, MiB and GiB.",
)
