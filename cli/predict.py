"""falconet predict"""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from falconet.scoring.ahead import map_ahead
from falconet.scoring.part import Item
from falconet.scoring.row import in_utf8

from .client_options import url_options

BAR_WIDTH = 40
CONNECTIONS = 8
STANDARD_INPUT = Path("-")


@click.command()
@click.argument(
    "paths",
    nargs=-1,
    metavar="[PATH]...",
    type=click.Path(exists=True, allow_dash=True, path_type=Path),
)
@click.option(
    "--files-from",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Text file with one path per line; - reads standard input.",
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
    paths: tuple[Path, ...],
    files_from: str | None,
    model: Path | None,
    url: str | None,
    api_key: str | None,
    cacert: Path | None,
    as_json: bool,
) -> None:
    """Classifies images and prints the most probable classes of each.

    PATH is an image, or a folder with all its subfolders; - reads an image from standard input.
    Runs the model in this process, in batches of 16; with --url, a server classifies. Results are
    printed as they come. The exit status is 1 if a file cannot be classified.
    """
    if model is not None and url is not None:
        raise click.UsageError("expected either --model, which classifies here, or --url, got both")
    if not paths and files_from is None:
        raise click.UsageError("expected at least one PATH, or --files-from")
    if files_from == "-" and STANDARD_INPUT in paths:
        raise click.UsageError("expected an image or a list of paths on standard input, got both")
    listed = _listed(files_from) if files_from is not None else ()
    items = map(_item, chain(_files(paths), _files(listed)))
    answers = _asked(items, url, api_key, cacert) if url else _here(items, model)
    success = True
    for name, answer in answers:
        image = in_utf8(name)
        success &= answer["success"]
        if as_json:
            click.echo(json.dumps({"image": image, **answer}, ensure_ascii=False))
        else:
            Console().print(_table(image, answer))
    if not success:
        raise click.exceptions.Exit(1)


def _listed(files_from: str) -> Iterator[Path]:
    with click.open_file(files_from, encoding="utf-8") as lines:
        for line in lines:
            if name := line.rstrip("\r\n"):
                path = Path(name)
                yield path if path != STANDARD_INPUT else path.absolute()


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Files, and those in folders in order of their names; hidden ones in folders are left out."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            files = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
            yield from filter(Path.is_file, files)  # a pipe could be read forever


def _item(path: Path) -> Item:
    if path == STANDARD_INPUT:
        return Item("-", sys.stdin.buffer.read())
    try:
        return Item(str(path), path.read_bytes())
    except OSError as error:
        return Item(str(path), error)


def _asked(
    items: Iterable[Item], url: str, api_key: str | None, cacert: Path | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    from falconet.client import Client, ResponseError

    def ask(item: Item) -> tuple[str, dict[str, Any]]:
        if isinstance(item.data, Exception):
            return item.key, _failure(None, str(item.data))
        try:
            predictions = client.predict(item.data).predictions
        except ResponseError as error:
            return item.key, _failure(error.status, error.message)
        return item.key, {"success": True, "predictions": [asdict(each) for each in predictions]}

    with Client(url, api_key=api_key, ca=cacert) as client:
        yield from map_ahead(ask, items, CONNECTIONS)


def _here(items: Iterable[Item], model: Path | None) -> Iterator[tuple[str, dict[str, Any]]]:
    from falconet.scoring.scorer import Scorer  # imports torch

    from .model import MAX_PIXELS, open_classifier

    with open_classifier(model) as classifier:
        for row in Scorer(classifier, MAX_PIXELS).score(items):
            if row.error:
                yield row.key, _failure(row.status or None, row.error)
                continue
            predictions = [
                {"label": label, "probability": probability}
                for label, probability in zip(row.labels, row.probabilities, strict=True)
            ]
            yield row.key, {"success": True, "predictions": predictions}


def _failure(code: int | None, message: str) -> dict[str, Any]:
    return {"success": False, "error": {"code": code, "message": message}}


def _table(image: str, answer: dict[str, Any]) -> Table:
    table = Table(title=Text(image), title_justify="left", box=None, show_header=False)
    if not answer["success"]:
        table.add_row(Text(answer["error"]["message"], style="red"))
        return table
    for entry in answer["predictions"]:
        probability = entry["probability"]
        bar = ProgressBar(total=1, completed=probability, width=BAR_WIDTH)
        table.add_row(entry["label"], f"{probability:7.2%}", bar)
    return table
