"""falconet import"""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from falconet.model.archive import INT8
from falconet.model.spec import Spec
from falconet.native.output import OUTPUTS, Output

from .calibration_options import calibrate_model, calibration_options

SHOWN = 3


def read_fields(path: Path) -> dict[str, Any]:
    """Fields of a spec, from a file with JSON."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{path}: expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f'{path}: expected an object like {{"resize": 256}}, got {found!r}')
    return found


def described(spec: Spec) -> str:
    """A spec's preprocessing, for a person."""
    height, width = spec.size
    sides = f"the {spec.fit} side to {spec.resize}"
    if not isinstance(spec.resize, int):
        sides = "x".join(map(str, spec.resize or spec.size))
    mean, std = (", ".join(f"{each:.4g}" for each in numbers) for numbers in (spec.mean, spec.std))
    return f"resize {sides} ({spec.filter}), crop {height}x{width}, mean {mean}, std {std}"


class Size(click.ParamType[tuple[int, int]]):
    """Height and width, or one number for both."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", value)
        if not found:
            self.fail(f"expected a number of pixels, or HEIGHTxWIDTH, got {value!r}")
        return int(found[1]), int(found[2] or found[1])


@click.command("import")
@click.argument("source")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Output folder: model.pt, spec.json, proof.json, samples/; with --calibrate, int8.json.",
)
@click.option(
    "--weights",
    help="State dict of the model (.pth), or `random`.  [default: the published weights]",
)
@click.option(
    "--size",
    type=Size(),
    help="Input size of the network in pixels, like 299 or 240x320.  [default: the source's]",
)
@click.option(
    "--spec",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with fields that replace those of spec.json, like "
    '{"mean": [0.5], "std": [0.5]}.  [default: the source\'s]',
)
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with a label per output: one per line, or JSON (a list, index_to_name.json, "
    "id2label).  [default: the source's]",
)
@click.option(
    "--samples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of images like the training images. This command compares the predictions on "
    "them, and every deploy sends them as test requests.  [default: OUTPUT/samples]",
)
@click.option(
    "--outputs",
    type=click.Choice(OUTPUTS),
    help="Meaning of the outputs. sigmoid: logits of labels of which several may apply.  "
    "[default: detected]",
)
@calibration_options
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def import_model(
    source: str,
    output: Path,
    weights: str | None,
    size: tuple[int, int] | None,
    spec: Path | None,
    labels: Path | None,
    samples: Path | None,
    outputs: Output | None,
    calibrate: Path | None,
    least_agreement: float,
    as_json: bool,
) -> None:
    """Converts a trained model, and checks that it predicts as the original does.

    \b
    falconet import torchvision:resnet50 --output resnet --samples images/
    falconet import timm:convnext_atto --weights mine.pth --labels labels.txt --output mine
    falconet import hf:google/vit-base-patch16-224 --output vit
    falconet import python:package.module:function --labels labels.txt --output mine
    falconet import model.pt --size 299 --labels labels.json --output mine   any TorchScript

    Then: falconet archive FOLDER --output build/model_store/NAME.mar
    """
    from falconet.model.importers import load
    from falconet.model.importers.labels import read_labels
    from falconet.model.importers.model import ImportOptions
    from falconet.model.importing import write
    from falconet.model.samples import FOLDER, in_folder
    from falconet.native.formats import DEFAULT, suffixes

    wanted = ImportOptions(
        weights=Path(weights) if weights not in (None, "random") else None,
        random=weights == "random",
        size=size,
        labels=() if labels is None else read_labels(labels),
        outputs=outputs,
        fields=read_fields(spec) if spec else {},
    )
    images = in_folder(samples or output / FOLDER, DEFAULT)
    if samples and not images:
        kinds = ", ".join(sorted(suffixes(DEFAULT)))
        raise click.UsageError(f"{samples}: expected images ({kinds}), found none")
    model = load(source, wanted)
    (output / INT8).unlink(missing_ok=True)  # of another model
    proof = write(model, output, images)
    calibration = None
    if calibrate is not None:
        calibration = calibrate_model(output, calibrate, least_agreement, quiet=as_json)
    if as_json:
        found = asdict(proof)
        if calibration is not None:
            found["calibration"] = calibration.to_json()
        click.echo(json.dumps(found))
        return
    classes = model.spec.classes
    first = ", ".join(classes[:SHOWN]) + (", ..." if len(classes) > SHOWN else "")
    click.echo(f"{output}: {len(classes)} classes, {first}")
    click.echo(f"output: {model.returns}")
    click.echo(f"preprocessing: {described(model.spec)}")
    click.echo(str(proof))
    if proof.same_bytes is None:
        click.echo(
            f"the original preprocessing is not known: compare {output / 'spec.json'} with your "
            "training, and change it with --spec"
        )
