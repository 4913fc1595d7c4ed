"""--teacher, for commands that train."""

from pathlib import Path

import click

teacher_option = click.option(
    "--teacher",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights whose answers are learned, for a recipe that has a teacher.",
)
