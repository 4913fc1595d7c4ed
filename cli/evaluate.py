"""falconet evaluate"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from falconet.scoring.ahead import map_ahead
from falconet.training import data as datasets
from falconet.training.progress import track

from .client_options import url_options
from .data import data_option

BATCH = 100
CONNECTIONS = 16


@click.command()
@click.argument("model", required=False, type=click.Path(exists=True, path_type=Path))
@data_option
@url_options(
    "Server that classifies every image as well, like "
    "http://127.0.0.1:8080/predictions/cifar10; the labels are compared."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def evaluate(
    model: Path | None,
    data: Path | str,
    url: str | None,
    api_key: str | None,
    cacert: Path | None,
    as_json: bool,
) -> None:
    """Measures the top-1 accuracy of a MODEL on the test set.

    Decodes, preprocesses and classifies every image file as the server does. MODEL is an archive,
    an exported folder, or weights; the default is the included CIFAR-10 weights. With --url, the
    exit status is 1 unless the server's label is the same for every image.
    """
    from falconet.native.errors import ImageError

    from .model import MAX_PIXELS, open_classifier

    found: list[str] = []
    with open_classifier(model) as classifier:
        dataset = datasets.load(data, "test", classifier.decoder.formats)
        names = [dataset.classes[label] for label in dataset.labels]
        if missing := set(dataset.classes) - set(classifier.classes):
            raise ValueError(
                f"expected a test set of the model's classes, got {min(missing)!r}; the model has "
                f"{', '.join(sorted(classifier.classes))}"
            )
        starts = range(0, len(names), BATCH)
        for start in track(starts, "evaluating"):
            pixels = []
            for image in dataset.images[start : start + BATCH]:
                try:
                    encoded = classifier.open(datasets.encode(image), MAX_PIXELS)
                    pixels.append(classifier.decode(encoded))
                except ImageError as error:
                    raise ValueError(f"{image}: {error}") from error
            found += [best[0].label for best in classifier.classify(pixels)]
    result: dict[str, Any] = {"images": len(names), **_score(names, found)}
    served = _ask(url, dataset.images, api_key, cacert) if url else None
    if served is not None:
        result["served"] = {
            **_score(names, served),
            "answered": sum(label is not None for label in served),
            "same_label": sum(a == b for a, b in zip(found, served, strict=True)),
        }
    if as_json:
        click.echo(json.dumps(result))
    else:
        click.echo(f"{result['accuracy']:.2%} ({result['right']} of {len(names)} images)")
        if served is not None:
            click.echo(
                "served: {accuracy:.2%}, {answered} answered, "
                "{same_label} with the same label".format(**result["served"])
            )
    if served is not None and served != found:
        raise click.exceptions.Exit(1)


def _score(names: Sequence[str], found: Sequence[str | None]) -> dict[str, Any]:
    right = sum(a == b for a, b in zip(names, found, strict=True))
    return {"right": right, "accuracy": right / len(names)}


def _ask(
    url: str, images: Sequence[datasets.Image], api_key: str | None, cacert: Path | None
) -> list[str | None]:
    """The label of each image from a server; ``None`` if the response is an error."""
    from falconet.client import Client, ResponseError

    def label(image: datasets.Image) -> str | None:
        try:
            return client.predict(datasets.encode(image)).label
        except ResponseError:
            return None

    with Client(url, api_key=api_key, ca=cacert) as client:
        answers = map_ahead(label, images, CONNECTIONS)
        return list(track(answers, "asking the server", len(images)))
