"""falconet archive"""

import json
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from falconet.handler import ENTRY
from falconet.model.archive import Serving
from falconet.model.archive import archive as pack

if TYPE_CHECKING:
    from falconet.model.export import Parity

DEFAULT_OUTPUT = Path("build/model_store/cifar10.mar")


def _serving_options(command: Any) -> Any:
    """One option for each field of Serving, with its default."""
    helps = {
        "workers": "Processes, each with a copy of the model.",
        "batch_size": "Most requests answered by one forward pass.",
        "max_batch_delay": "Milliseconds a batch waits to fill.",
        "response_timeout": "Seconds after which a worker that does not answer is restarted.",
        "startup_timeout": "Seconds a worker may take to load the model.",
        "threads": "Compute threads per worker; 0 shares the cores out.",
        "max_pixels": "Largest picture accepted, height times width.",
    }
    for field in reversed(fields(Serving)):
        command = click.option(
            f"--{field.name.replace('_', '-')}",
            type=int,
            default=field.default,
            show_default=True,
            help=helps[field.name],
        )(command)
    return command


@click.command()
@click.argument("source", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_OUTPUT,
    show_default=True,
    help="The archive; its name without .mar is the model's.",
)
@click.option("--version", default="1.0", show_default=True, help="Version of the model.")
@_serving_options
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def archive(source: Path | None, output: Path, version: str, as_json: bool, **serving: int) -> None:
    """Pack a model into a .mar archive for TorchServe.

    \b
    SOURCE is one of
      a weights file of a training run, which is exported first;
      a folder with model.pt, any TorchScript image classifier, and spec.json;
      left out: the CIFAR-10 weights that come along.
    """
    options = Serving(**serving)
    parity = make_archive(source, output, version, options)
    if as_json:
        made = {"archive": str(output), "model": output.stem, "version": version}
        click.echo(json.dumps({**made, **vars(options)}))
    else:
        if parity is not None:
            click.echo(f"exported: {parity}")
        click.echo(f"{output} ({output.stat().st_size / 1e6:.1f} MB)")


def make_archive(
    source: Path | None, output: Path, version: str = "1.0", serving: Serving | None = None
) -> "Parity | None":
    """Pack an exported folder, weights, or with ``None`` the weights that come along.

    Returns:
        How the export compares with the weights, where there was one.
    """
    if source is not None and source.is_dir():
        pack(source, output, handler=ENTRY, version=version, serving=serving)
        return None
    from falconet.model.export import export  # imports torch

    from .model import load_weights

    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        parity = export(load_weights(source), Path(temporary))
        pack(Path(temporary), output, handler=ENTRY, version=version, serving=serving)
    return parity
