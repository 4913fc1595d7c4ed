"""falconet export"""

import json
from pathlib import Path

import click


@click.command()
@click.argument(
    "weights",
    required=False,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/cifar10"),
    show_default=True,
    help="Output folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def export(weights: Path | None, output: Path, as_json: bool) -> None:
    """Exports WEIGHTS to a TorchScript file, model.pt, and its spec.json.

    WEIGHTS is the weights.pt of a training run; the default is the included CIFAR-10 weights. The
    command compares the file with the network on real images, and fails if they disagree.
    """
    from falconet.model.export import export as export_weights  # imports torch

    from .model import load_weights

    parity = export_weights(load_weights(weights), output)
    if as_json:
        click.echo(json.dumps({"folder": str(output), **vars(parity)}))
    else:
        click.echo(f"{output / 'model.pt'}: {parity}")
