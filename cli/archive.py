"""falconet archive"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

import click

from falconet.handler import ENTRY
from falconet.model.archive import INT8, Serving, calibration_file, check
from falconet.model.archive import archive as pack
from falconet.model.samples import FOLDER
from falconet.native.formats import DEFAULT, FORMATS

from .calibration_options import calibrate_model, calibration_options
from .trial import try_out

if TYPE_CHECKING:
    from falconet.model.export import Parity

    from .calibration import Calibration

STORE = Path("build/model_store")
DEFAULT_OUTPUT = STORE / "cifar10.mar"


allow_option = click.option(
    "--allow",
    type=click.Choice([name for name in FORMATS if name not in DEFAULT], case_sensitive=False),
    multiple=True,
    help="Image format to decode besides the default ones; repeatable. HEIC needs falconet[heic] "
    "on the server.  [default: none]",
)


def _serving_options(command: Any) -> Any:
    """One option for each field of Serving, with its default."""
    helps = {
        "workers": "Number of worker processes, each with a copy of the model; 0: chosen by the "
        "server's profile.",
        "batch_size": "Maximum number of requests in one forward pass.",
        "max_batch_delay": "Milliseconds that a worker waits for a batch to fill.",
        "response_timeout": "Seconds without a response after which a worker is restarted.",
        "startup_timeout": "Maximum seconds for a worker to load the model.",
        "threads": "Compute threads per worker; 0: chosen by the server's profile, or the cores "
        "divided by the number of workers.",
        "max_pixels": "Maximum size of an image in pixels, height times width.",
        "precision": "Precision of the computation. auto: a worker measures at its first start "
        "which allowed precision is the fastest on its CPU. int8 needs --calibrate.",
        "explanations": "Enable POST /explanations/MODEL, which shows the parts of an image that a "
        "prediction depends on. One takes as long as dozens of predictions, which wait meanwhile.",
    }
    hints = get_type_hints(Serving)
    for field in reversed(fields(Serving)):
        if field.name not in helps:
            continue
        hint = hints[field.name]
        command = click.option(
            f"--{field.name.replace('_', '-')}",
            is_flag=hint is bool,
            type=hint if hint in (int, bool) else click.Choice(get_args(hint)),
            default=field.default,
            show_default=hint is not bool,
            help=helps[field.name],
        )(command)
    return command


@click.command()
@click.argument("source", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"File to write: NAME.mar.  [default: {STORE}/NAME.mar]",
)
@click.option(
    "--name",
    help="Name of the model.  [default: the file name of --output without .mar, or cifar10]",
)
@click.option("--version", default="1.0", show_default=True, help="Version of the model.")
@allow_option
@_serving_options
@calibration_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def archive(
    source: Path | None,
    output: Path | None,
    name: str | None,
    version: str,
    allow: tuple[str, ...],
    calibrate: Path | None,
    least_agreement: float,
    as_json: bool,
    **serving: Any,
) -> None:
    """Packs a model into a .mar archive for TorchServe.

    \b
    SOURCE is one of
      a weights file of a training run, which is exported first;
      a folder with model.pt (any TorchScript image classifier), spec.json, and example
      images in samples/;
      by default, the included CIFAR-10 weights.
    """
    output = output or STORE / f"{name or DEFAULT_OUTPUT.stem}.mar"
    if name is not None and output.name != f"{name}.mar":
        raise click.UsageError(
            f"expected --output with the file name {name}.mar, as a server takes the model's name "
            f"({name}) from the file name; got {output.name}"
        )
    quantize = None
    if calibrate is not None:
        quantize = partial(
            calibrate_model, images=calibrate, least_agreement=least_agreement, quiet=as_json
        )
    made = make_archive(source, output, version, Serving(**serving), allow, quantize)
    if as_json:
        named: dict[str, Any] = {"archive": str(output), "model": output.stem, "version": version}
        if made.calibration is not None:
            named["calibration"] = made.calibration.to_json()
        click.echo(json.dumps({**named, **vars(made.serving)}))
        return
    if made.exported is not None:
        click.echo(f"exported: {made.exported}")
    for precision, rounded in made.rounded.items():
        kept = precision in made.serving.precisions
        click.echo(
            f"in {precision}: {rounded}{'' if kept else '; not served: too few classes agree'}"
        )
    if made.rounded:
        served: str = made.serving.precision
        if served == "auto":
            served = f"the fastest on the server's CPU of {', '.join(made.serving.precisions)}"
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
        rounded: how other precisions that were tried compare with float32.
        made: whether its samples are made, as it has none of its own.
        calibration: how int8 compares with float32, if it was calibrated now.
    """

    serving: Serving
    exported: "Parity | None" = None
    rounded: "Mapping[str, Parity]" = MappingProxyType({})
    made: bool = False
    calibration: "Calibration | None" = None


def make_archive(
    source: Path | None,
    output: Path,
    version: str = "1.0",
    serving: Serving | None = None,
    allow: Sequence[str] = (),
    quantize: "Callable[[Path], Calibration] | None" = None,
) -> Made:
    """Pack an exported folder, weights, or with ``None`` the included weights.

    The model is tried before: see :func:`falconet.cli.trial.try_out`.

    Args:
        quantize: writes ``int8.json`` into the folder that is packed. It is kept beside weights
            that are named, and used the next time.
    """
    serving = serving or Serving()
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        exported, images, kept = None, [], None
        if source is not None and source.is_dir():
            folder = source
        else:
            from falconet.model.export import export  # imports torch
            from falconet.model.weights import PRETRAINED

            from .model import load_weights

            folder, weights = Path(temporary), load_weights(source)
            exported, images = export(weights, folder), weights.samples
            kept = calibration_file(source or PRETRAINED)
            if quantize is None and kept.is_file():
                shutil.copyfile(kept, folder / INT8)
        check(folder, output, version)
        calibration = None if quantize is None else quantize(folder)
        if calibration is not None and kept is not None and source is not None:
            shutil.copyfile(folder / INT8, kept)
        trial = try_out(folder, serving, images)
        pack(
            folder,
            output,
            handler=ENTRY,
            version=version,
            serving=trial.serving,
            known=trial.known,
            allow=allow,
        )
    return Made(trial.serving, exported, trial.rounded, trial.known[0].made, calibration)
