"""falconet import"""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from falconet.native.output import OUTPUTS, Output


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
    help="Folder for model.pt, spec.json, proof.json and samples.",
)
@click.option(
    "--weights",
    help="A file with the model's state; `random` to try without. [default: those published]",
)
@click.option(
    "--size",
    type=Size(),
    help="Of the network's input, in pixels: a side, or HEIGHTxWIDTH.  [default: its own]",
)
@click.option(
    "--spec",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='Fields of spec.json that are not as usual, like {"mean": [0.5], "std": [0.5]}.',
)
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A line for each output; or JSON: a list, index_to_name.json, id2label.",
)
@click.option(
    "--samples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Pictures that the model knows: to compare on, and for deploys.",
)
@click.option(
    "--outputs",
    type=click.Choice(OUTPUTS),
    help="What the model returns, where that cannot be told; sigmoid: logits of several labels.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the proof as JSON.")
def import_model(
    source: str,
    output: Path,
    weights: str | None,
    size: tuple[int, int] | None,
    spec: Path | None,
    labels: Path | None,
    samples: Path | None,
    outputs: Output | None,
    as_json: bool,
) -> None:
    """Take over a model from elsewhere, and prove that it says the same.

    \b
    falconet import torchvision:resnet50 --output resnet --samples pictures/
    falconet import timm:convnext_atto --weights mine.pth --labels labels.txt --output mine
    falconet import python:package.module:function --labels labels.txt --output mine
    falconet import model.pt --size 299 --labels labels.json --output mine   any TorchScript

    Then: falconet archive FOLDER --output build/model_store/NAME.mar
    """
    from falconet.model.importers import load
    from falconet.model.importers.labels import read_labels
    from falconet.model.importers.model import Wanted
    from falconet.model.importing import write
    from falconet.model.samples import in_folder
    from falconet.native.formats import DEFAULT, suffixes

    wanted = Wanted(
        weights=Path(weights) if weights not in (None, "random") else None,
        random=weights == "random",
        size=size,
        labels=() if labels is None else read_labels(labels),
        outputs=outputs,
        fields=json.loads(spec.read_text(encoding="utf-8")) if spec else {},
    )
    pictures = in_folder(samples, DEFAULT) if samples else {}
    if samples and not pictures:
        kinds = ", ".join(sorted(suffixes(DEFAULT)))
        raise click.UsageError(f"{samples}: expected pictures ({kinds})")
    model = load(source, wanted)
    proof = write(model, output, pictures)
    if as_json:
        click.echo(json.dumps(asdict(proof)))
        return
    first = ", ".join(model.spec.classes[:3])
    click.echo(f"{output}: {len(model.spec.classes)} classes, {first}, ...")
    click.echo(f"returns {model.returns}")
    click.echo(str(proof))
