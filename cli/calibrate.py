"""The options of commands that make int8 possible."""

from pathlib import Path
from typing import Any

import click

MOST_IMAGES = 2000  # of a folder


def calibration_options(command: Any) -> Any:
    """What int8 needs."""
    command = click.option(
        "--least-agreement",
        type=click.FloatRange(0, 1),
        default=0.99,
        show_default=True,
        help="Share of images whose top-1 class int8 has to leave as it is in float32.",
    )(command)
    return click.option(
        "--calibrate",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder of images like those that the model was trained on, 64 at least, by which "
        "int8 is made possible.",
    )(command)


def calibrate_model(folder: Path, images: Path, least_agreement: float, *, quiet: bool) -> None:
    """Make int8 possible for an exported model, and show what that changes."""
    from rich.console import Console

    from falconet.model.samples import paths
    from falconet.model.spec import Spec

    from .calibration import calibrate

    found = calibrate(
        folder, paths(images, Spec.load(folder).formats, MOST_IMAGES), least_agreement
    )
    if not quiet:
        Console().print(found.table())
        click.echo(f"int8: {found}")
