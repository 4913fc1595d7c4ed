"""The options of commands that quantize a model to int8."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .calibration import Calibration

MOST_IMAGES = 2000  # of a folder


def calibration_options(command: Any) -> Any:
    """--calibrate and --least-agreement."""
    command = click.option(
        "--least-agreement",
        type=click.FloatRange(0, 1),
        default=0.99,
        show_default=True,
        help="Minimum share of images, not used for calibration, with the same top-1 class in int8 "
        "and float32. Below it, the command fails.",
    )(command)
    return click.option(
        "--calibrate",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder of at least 64 images like the training images, without labels, to quantize "
        "the model to int8. The result is int8.json, next to the model. CPUs without AVX512-VNNI "
        "serve another precision.  [default: no quantization]",
    )(command)


def calibrate_model(
    folder: Path, images: Path, least_agreement: float, *, quiet: bool
) -> "Calibration":
    """Quantize an exported model, and show what that changes."""
    from rich.console import Console

    from falconet.model.samples import paths
    from falconet.model.spec import Spec

    from .calibration import calibrate

    files = paths(images, Spec.load(folder).formats, MOST_IMAGES)
    found = calibrate(folder, files, least_agreement)
    if not quiet:
        Console().print(found.table())
        click.echo(f"int8: {found}")
    return found
