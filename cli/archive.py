"""falconet archive"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

import click

from falconet.handler import ENTRY
from falconet.model.archive import Serving, check
from falconet.model.archive import archive as pack
from falconet.model.samples import FOLDER
from falconet.native.formats import DEFAULT, FORMATS

from .trial import try_out

if TYPE_CHECKING:
    from falconet.model.export import Parity

DEFAULT_OUTPUT = Path("build/model_store/cifar10.mar")


allow_option = click.option(
    "--allow",
    type=click.Choice([name for name in FORMATS if name not in DEFAULT], case_sensitive=False),
    multiple=True,
    help="A picture format to decode besides the usual ones; may be repeated. HEIC needs "
    "falconet[heic] where the model is served.",
)


def _serving_options(command: Any) -> Any:
    """One option for each field of Serving, with its default."""
    helps = {
        "workers": "Processes, each with a copy of the model; 0: as the server's profile says.",
        "batch_size": "Most requests answered by one forward pass.",
        "max_batch_delay": "Milliseconds a batch waits to fill.",
        "response_timeout": "Seconds after which a worker that does not answer is restarted.",
        "startup_timeout": "Seconds a worker may take to load the model.",
        "threads": "Compute threads per worker; 0: likewise, or the cores shared out.",
        "max_pixels": "Largest picture accepted, height times width.",
        "precision": "What the model computes in; auto is bfloat16 where the CPU is fast at it.",
    }
    hints = get_type_hints(Serving)
    for field in reversed(fields(Serving)):
        command = click.option(
            f"--{field.name.replace('_', '-')}",
            type=int if hints[field.name] is int else click.Choice(get_args(hints[field.name])),
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
@allow_option
@_serving_options
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def archive(
    source: Path | None,
    output: Path,
    version: str,
    allow: tuple[str, ...],
    as_json: bool,
    **serving: Any,
) -> None:
    """Pack a model into a .mar archive for TorchServe.

    \b
    SOURCE is one of
      a weights file of a training run, which is exported first;
      a folder with model.pt, any TorchScript image classifier, spec.json, and some of its
      pictures in samples/;
      left out: the CIFAR-10 weights that come along.
    """
    made = make_archive(source, output, version, Serving(**serving), allow)
    if as_json:
        named = {"archive": str(output), "model": output.stem, "version": version}
        click.echo(json.dumps({**named, **vars(made.serving)}))
        return
    if made.exported is not None:
        click.echo(f"exported: {made.exported}")
    if made.rounded is not None:
        click.echo(f"in bfloat16: {made.rounded}")
        served = "float32" if made.serving.precision == "float32" else "bfloat16 where it is fast"
        click.echo(f"served in {served}; --precision changes it")
    if made.made:
        click.echo(
            f"no sample images: put some into {source}/{FOLDER}, so that a deploy can check the "
            "predictions; generated ones are packed"
        )
    click.echo(f"{output} ({output.stat().st_size / 1e6:.1f} MB)")


class Made(NamedTuple):
    """How an archive was made.

    Attributes:
        serving: how it will be run.
        exported: how the exported file compares with the weights, where there were any.
        rounded: how bfloat16, in which a CPU may compute it, compares with float32, if tried.
        made: whether its samples are made, as it has none of its own.
    """

    serving: Serving
    exported: "Parity | None" = None
    rounded: "Parity | None" = None
    made: bool = False


def make_archive(
    source: Path | None,
    output: Path,
    version: str = "1.0",
    serving: Serving | None = None,
    allow: Sequence[str] = (),
) -> Made:
    """Pack an exported folder, weights, or with ``None`` the weights that come along.

    The model is tried before: see :func:`falconet.cli.trial.try_out`.
    """
    serving = serving or Serving()
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        exported, pictures = None, []
        if source is not None and source.is_dir():
            folder = source
        else:
            from falconet.model.export import export  # imports torch

            from .model import load_weights

            folder, weights = Path(temporary), load_weights(source)
            exported, pictures = export(weights, folder), weights.samples
        check(folder, output, version)
        trial = try_out(folder, serving, pictures)
        pack(
            folder,
            output,
            handler=ENTRY,
            version=version,
            serving=trial.serving,
            known=trial.known,
            allow=allow,
        )
    return Made(trial.serving, exported, trial.rounded, trial.known[0].made)
