"""falconet archive"""

import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

import click
from PIL import Image

from falconet.handler import ENTRY
from falconet.model.archive import Serving
from falconet.model.archive import archive as pack
from falconet.native.formats import DEFAULT, FORMATS

if TYPE_CHECKING:
    from torch import Tensor

    from falconet.handler.network import Precision
    from falconet.model.export import Parity
    from falconet.model.samples import Sample
    from falconet.model.weights import Weights
    from falconet.native.data import Pixels

# Of the pictures that come with weights, as many get the same class in bfloat16, or it is not used.
AGREEMENT = 0.98
# So many of them go into the archive, whose probability bfloat16 moves by this at most.
KNOWN, MOVED = 16, 0.05

DEFAULT_OUTPUT = Path("build/model_store/cifar10.mar")


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
@click.option(
    "--allow",
    type=click.Choice([name for name in FORMATS if name not in DEFAULT], case_sensitive=False),
    multiple=True,
    help="A picture format to decode besides the usual ones; may be repeated. HEIC needs "
    "falconet[heic] where the model is served.",
)
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
      a folder with model.pt, any TorchScript image classifier, and spec.json;
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
        if made.serving.precision == "float32":
            click.echo("so it will be served in float32; --precision bfloat16 says otherwise")
    click.echo(f"{output} ({output.stat().st_size / 1e6:.1f} MB)")


class Made(NamedTuple):
    """How an archive was made.

    Attributes:
        serving: how it will be run.
        exported: how the exported file compares with the weights, where there were any.
        rounded: how bfloat16, in which a CPU may compute it, compares with float32, likewise.
    """

    serving: Serving
    exported: "Parity | None" = None
    rounded: "Parity | None" = None


def make_archive(
    source: Path | None,
    output: Path,
    version: str = "1.0",
    serving: Serving | None = None,
    allow: Sequence[str] = (),
) -> Made:
    """Pack an exported folder, weights, or with ``None`` the weights that come along.

    Weights have pictures with them to compare on. If bfloat16 changes the class of more than one
    in fifty, ``"auto"`` becomes ``"float32"``.
    """
    serving = serving or Serving()
    if source is not None and source.is_dir():
        pack(source, output, handler=ENTRY, version=version, serving=serving, allow=allow)
        return Made(serving)
    from falconet.model.export import Parity, export  # imports torch

    from .model import load_weights

    weights = load_weights(source)
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        folder = Path(temporary)
        exported = export(weights, folder)
        exact = _logits(folder, weights.samples, "float32")
        as_served, rounded = exact, None
        if serving.precision != "float32":
            as_served = _logits(folder, weights.samples, "bfloat16")
            rounded = Parity.of(exact, as_served)
            if serving.precision == "auto" and rounded.same_top1 < AGREEMENT * rounded.pictures:
                serving = replace(serving, precision="float32")
        known = _known(weights, exact, as_served)
        pack(
            folder,
            output,
            handler=ENTRY,
            version=version,
            serving=serving,
            known=known,
            allow=allow,
        )
    return Made(serving, exported, rounded)


def _logits(folder: Path, pictures: "Sequence[Pixels]", precision: "Precision") -> "Tensor":
    """What an exported folder says of pictures."""
    from falconet.handler.classifier import Classifier

    classifier = Classifier(folder, precision=precision)
    rows = classifier.batch(len(pictures))
    classifier.prepare(pictures, rows)
    return classifier.logits(rows)


def _known(weights: "Weights", exact: "Tensor", as_served: "Tensor") -> "list[Sample]":
    """Pictures, as PNG files, with the best class in float32; those that rounding moves are out."""
    from falconet.model.samples import Sample

    known: list[Sample] = []
    best, rounded = exact.softmax(1).max(1), as_served.softmax(1).max(1)
    for i, pixels in enumerate(weights.samples):
        moved = abs(float(best.values[i] - rounded.values[i]))
        if best.indices[i] == rounded.indices[i] and moved <= MOVED and len(known) < KNOWN:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            label = weights.spec.classes[int(best.indices[i])]
            known.append(Sample(file.getvalue(), label, round(float(best.values[i]), 6)))
    return known
