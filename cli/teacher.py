"""--teacher, for commands that train."""

from pathlib import Path

import click

teacher_option = click.option(
    "--teacher",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights file of the teacher network, for a recipe with distillation.",
)
