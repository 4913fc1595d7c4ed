"""Imports many networks, and compares each with its original.

    .venv/bin/python -m benchmarks.models [--quick]

With random weights, as nothing is to be downloaded: what is compared is preprocessing, outputs and
the file that is served. Writes benchmarks/results/models.json and the table in docs/models.md; with
--quick, which takes a few of them, it prints the table and writes into build/models/ instead.
"""

import logging
import warnings
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from falconet.cli.trial import try_out
from falconet.model.archive import Serving
from falconet.model.importers import load
from falconet.model.importers.model import ImportOptions
from falconet.model.importing import write

from .. import document
from ..progress import progress
from ..table import table
from .migrations import ARCHIVES, migrated
from .sources import BACKENDS, TIMM, TORCHVISION, hugging_face, write_hugging_face

SOURCES = (
    *(f"torchvision:{name}" for name in TORCHVISION),
    *(f"timm:{name}" for name in TIMM),
    *(f"hf:{name}:{backend}" for name in hugging_face() for backend in BACKENDS),
)
IMAGES = 3600  # of which three in ten are RGB, and two gray
PACKAGES = ("torchvision", "timm", "transformers")
QUICK = 3


def imported(source: str) -> dict[str, Any]:
    """What became of one."""
    torch.manual_seed(0)
    with TemporaryDirectory(prefix="falconet-") as temporary:
        place, name, *backend = source.split(":")
        if place == "hf":
            name = str(write_hugging_face(Path(temporary, "given"), name))
        try:
            model = load(":".join((place, name, *backend)), ImportOptions(random=True))
            proof = write(model, Path(temporary))
            trial = try_out(Path(temporary), Serving())
        except (RuntimeError, ValueError) as error:
            return {"source": source, "error": str(error).splitlines()[0]}
    fields = ("size", "resize", "filter", "exact_as")
    spec = {name: getattr(model.spec, name) for name in fields}
    return {"source": source, **spec, **asdict(proof), "precision": trial.serving.precision}


def _resized(resize: Any) -> str:
    if isinstance(resize, (list, tuple)):
        return f"squashed to {resize[0]}"
    return str(resize or "squashed")


def page(result: dict[str, Any]) -> str:
    """The tables, and what they were measured on."""
    rows = []
    for each in result["models"]:
        if "error" in each:
            rows.append([f"`{each['source']}`", *[""] * 6, f"refused: {each['error']}"])
            continue
        of = each["images"]
        rows.append(
            [
                f"`{each['source']}`",
                f"{_resized(each['resize'])} / {each['size'][0]}, {each['filter']}",
                f"{each['same_bytes']} of {of}",
                f"{each['input_difference']:.1e}",
                f"{each['logit_difference']:.1e}",
                f"{each['same_top1']} of {of}",
                str(each["classes_named"]),
                {"auto": "bfloat16 if it is fast"}.get(each["precision"], each["precision"]),
            ]
        )
    heads = ["model", "resized / cropped to", "same bytes", "input", "logits", "same class"]
    heads += ["different classes predicted", "precision"]
    taken = sum("error" not in each for each in result["models"])
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    measured = document.measured("models", result["machine"])
    return (
        f"{table(heads, rows)}\n\n{taken} of {len(rows)} models were imported. Input: the "
        "largest difference between two input values; logits: the largest difference between two "
        "logits, as a share of the largest logit. "
        f"{measured} {versions}.\n\n{_migrations(result['migrations'])}\n"
    )


def _migrations(found: list[dict[str, Any]]) -> str:
    heads = ["archive", "same response", "largest difference", "gained", "read as other colors"]
    heads += ["requests/s, old", "new"]
    rows = [
        [
            each["archive"],
            f"{each['same']} of {each['answered']}",
            f"{each['difference']:.1g}",
            str(sum(each["gained"].values())),
            str(sum(each["misread"].values())),
            *(f"{each['timed'] / each[key]:.1f}" for key in ("old_seconds", "new_seconds")),
        ]
        for each in found
    ]
    return (
        f"{table(heads, rows)}\n\nGained: images on which the old handler fails. Requests one "
        "after another, both handlers in turn, without the server, in float32, with "
        f"{found[0]['threads'] if found else 0} threads."
    )


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="a few, into build/")
    quick = parser.parse_args().quick
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    result = document.conditions()
    with progress() as bars:
        chosen = SOURCES[:: len(SOURCES) // QUICK] if quick else SOURCES
        result["models"] = [imported(each) for each in bars.track(chosen, description="models")]
        archives = bars.track(ARCHIVES, description="archives")
        images = 60 if quick else IMAGES
        result["migrations"] = [migrated(name, images) for name in archives]
    print(page(result))
    document.keep("models", result, quick)
    if not quick:
        document.write(document.DOCS / "models.md", "models", page(result))


if __name__ == "__main__":
    main()
