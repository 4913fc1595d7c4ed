"""falconet predict"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .client_options import url_options

BAR_WIDTH = 40


@click.command()
@click.argument(
    "images",
    nargs=-1,
    required=True,
    metavar="IMAGE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--model",
    type=click.Path(exists=True, path_type=Path),
    help="Archive (.mar), exported folder or weights to classify with.  [default: the included "
    "CIFAR-10 weights]",
)
@url_options(
    "Server that classifies the images instead of this process, like "
    "http://127.0.0.1:8080/predictions/cifar10."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def predict(
    images: tuple[Path, ...],
    model: Path | None,
    url: str | None,
    api_key: str | None,
    cacert: Path | None,
    as_json: bool,
) -> None:
    """Classifies each IMAGE and prints the most probable classes.

    Runs the model in this process; with --url, a server does. The exit status is 1 if an image
    cannot be read.
    """
    if model is not None and url is not None:
        raise click.UsageError("expected either --model, which classifies here, or --url, got both")
    answers = _asked(images, url, api_key, cacert) if url else _here(images, model)
    for image, answer in zip(images, answers, strict=True):
        if as_json:
            click.echo(json.dumps({"image": str(image), **answer}, ensure_ascii=False))
        else:
            Console().print(_table(image, answer))
    if not all(answer["success"] for answer in answers):
        raise click.exceptions.Exit(1)


def _asked(
    images: tuple[Path, ...], url: str, api_key: str | None, cacert: Path | None
) -> list[dict[str, Any]]:
    from falconet.client import Client, ResponseError

    answers: list[dict[str, Any]] = []
    with Client(url, api_key=api_key, ca=cacert) as client:
        for image in images:
            try:
                predictions = [asdict(each) for each in client.predict(image).predictions]
                answers.append({"success": True, "predictions": predictions})
            except ResponseError as error:
                failure = {"code": error.status, "message": error.message}
                answers.append({"success": False, "error": failure})
    return answers


def _here(images: tuple[Path, ...], model: Path | None) -> list[dict[str, Any]]:
    from falconet.handler.answer import Served, encode
    from falconet.handler.errors import request_error
    from falconet.handler.plain import Plain  # imports torch
    from falconet.native.errors import ImageError

    from .model import MAX_PIXELS, open_classifier

    answers = []
    with open_classifier(model) as classifier:
        for image in images:
            request = Plain(image.read_bytes())
            (file,) = request.images()
            try:
                pixels = classifier.decode(classifier.open(file, MAX_PIXELS))
                found = request.success(classifier.classify([pixels]), Served("", ""))
                answers.append(json.loads(encode(found)))
            except ImageError as error:
                answers.append(request.failure(request_error(error)))
    return answers


def _table(image: Path, answer: dict[str, Any]) -> Table:
    table = Table(title=Text(str(image)), title_justify="left", box=None, show_header=False)
    if not answer["success"]:
        table.add_row(Text(answer["error"]["message"], style="red"))
        return table
    for entry in answer["predictions"]:
        probability = entry["probability"]
        bar = ProgressBar(total=1, completed=probability, width=BAR_WIDTH)
        table.add_row(entry["label"], f"{probability:7.2%}", bar)
    return table
