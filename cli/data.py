"""The option --data, which several commands have."""

from pathlib import Path
from typing import Any

import click


class Source(click.ParamType):  # type: ignore[type-arg]
    """A folder, or the name of a data set that can be downloaded."""

    name = "source"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path | str:
        from falconet.training.data import DOWNLOADS

        if value in DOWNLOADS and not Path(value).is_dir():
            return str(value)
        if not Path(value).is_dir():
            names = " or ".join(DOWNLOADS)
            self.fail(f"expected a folder, or {names}, got {value!r}", param, ctx)
        return Path(value)


data_option = click.option(
    "--data",
    type=Source(),
    default="cifar10",
    show_default=True,
    metavar="DIR|cifar10|cifar100",
    help="Folder with train/<class>/<image> and test/<class>/<image>, or the name of a data set to "
    "download into data/.",
)
