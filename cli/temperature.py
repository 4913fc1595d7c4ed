"""falconet temperature"""

import json
from dataclasses import asdict
from pathlib import Path

import click

from .data import data_option


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def temperature(run: Path, data: Path | str, as_json: bool) -> None:
    """Fits the temperature of a training RUN, and stores it in its weights.pt.

    The temperature calibrates the probabilities in all responses; labels stay the same. It is
    fitted on the training images that the run held out, never on the test set.
    `falconet report RUN` shows the probabilities with and without it.
    """
    from falconet.training import recipes
    from falconet.training.run import Run
    from falconet.training.temperature import store

    fitted = store(Run(run), recipes.begun(Run(run)), data)
    path = Run(run).weights
    click.echo(
        json.dumps({"weights": str(path), **asdict(fitted)}) if as_json else f"{path}: {fitted}"
    )
