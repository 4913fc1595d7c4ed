"""falconet predict"""

import json
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
    "pictures",
    nargs=-1,
    required=True,
    metavar="PICTURE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--model",
    type=click.Path(exists=True, path_type=Path),
    help="Archive, folder or weights to use here.  [default: the CIFAR-10 weights that come along]",
)
@url_options("Ask a server instead, like http://127.0.0.1:8080/predictions/cifar10.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def predict(
    pictures: tuple[Path, ...],
    model: Path | None,
    url: str | None,
    api_key: str | None,
    cacert: Path | None,
    as_json: bool,
) -> None:
    """Say what is in each PICTURE, with probabilities.

    Needs no server. Ends with status 1 if a picture could not be read.
    """
    if model is not None and url is not None:
        raise click.UsageError("--model predicts here and --url elsewhere: name one")
    answers = _asked(pictures, url, api_key, cacert) if url else _here(pictures, model)
    for picture, answer in zip(pictures, answers, strict=True):
        if as_json:
            click.echo(json.dumps({"picture": str(picture), **answer}, ensure_ascii=False))
        else:
            Console().print(_table(picture, answer))
    if not all(answer["success"] for answer in answers):
        raise click.exceptions.Exit(1)


def _asked(
    pictures: tuple[Path, ...], url: str, api_key: str | None, cacert: Path | None
) -> list[dict[str, Any]]:
    from falconet.serving.client import predict as ask
    from falconet.serving.session import open_session

    with open_session(url, api_key=api_key, cacert=cacert) as session:
        return [ask(url, picture.read_bytes(), session=session) for picture in pictures]


def _here(pictures: tuple[Path, ...], model: Path | None) -> list[dict[str, Any]]:
    from falconet.handler.answer import Served, encode
    from falconet.handler.errors import request_error
    from falconet.handler.plain import Plain  # imports torch
    from falconet.native.errors import PictureError

    from .model import MAX_PIXELS, open_classifier

    answers = []
    with open_classifier(model) as classifier:
        for picture in pictures:
            request = Plain(picture.read_bytes())
            (file,) = request.pictures()
            try:
                pixels = classifier.decode(classifier.open(file, MAX_PIXELS))
                found = request.success(classifier.classify([pixels]), Served("", ""))
                answers.append(json.loads(encode(found)))
            except PictureError as error:
                answers.append(request.failure(request_error(error)))
    return answers


def _table(picture: Path, answer: dict[str, Any]) -> Table:
    table = Table(title=Text(str(picture)), title_justify="left", box=None, show_header=False)
    if not answer["success"]:
        table.add_row(Text(answer["error"]["message"], style="red"))
        return table
    for entry in answer["predictions"]:
        probability = entry["probability"]
        bar = ProgressBar(total=1, completed=probability, width=BAR_WIDTH)
        table.add_row(entry["label"], f"{probability:7.2%}", bar)
    return table
