"""Measures the included weights on the whole test set, offline and served, and writes it down.

    .venv/bin/python -m benchmarks.accuracy --data DIR

DIR holds test/<class>/<image>; without it CIFAR-10 is downloaded. Writes benchmarks/results/
accuracy.json, and the card of the weights, model/pretrained/cifar10.md.
"""

import json
import math
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from falconet.handler import ENTRY
from falconet.model.archive import Serving, archive
from falconet.model.cost import cost
from falconet.model.export import export
from falconet.model.weights import PRETRAINED, Weights
from falconet.serving.server import Server
from falconet.training import recipes

from .. import document, task
from ..system import shipped
from ..table import table

CARD = PRETRAINED.with_suffix(".md")
EXAMPLE = document.ROOT / "tests" / "images" / "cifar10" / "04-frog.png"


def measure(weights: Weights, data: list[str]) -> dict[str, Any]:
    """Evaluate an archive in this process and through a TorchServe that serves it.

    And in float32, in this process.
    """
    with TemporaryDirectory(prefix="falconet-") as temporary, task.cifar() as served:
        folder = Path(temporary)
        parity = export(weights, folder / "exported")
        source, exact = folder / "store" / "cifar10.mar", folder / "cifar10.mar"
        for output, precision in ((source, served.precision), (exact, "float32")):
            serving = Serving(precision=precision)  # type: ignore[arg-type]
            archive(served.folder, output, handler=ENTRY, serving=serving)
        server = Server.start([source], folder / "state", shipped())
        try:
            server.wait_ready(EXAMPLE.read_bytes())
            url = server.client.prediction_url("cifar10")
            found = evaluated("--url", url, *data, str(source))
        finally:
            server.stop()
        found["float32"] = evaluated(*data, str(exact))
    return {**found, "parity": vars(parity), "precision": served.precision}


def evaluated(*arguments: str) -> dict[str, Any]:
    """By the command, whose exit status says whether the server agrees, as its output does."""
    command = [sys.executable, "-m", "falconet.cli", "evaluate", "--json", *arguments]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    answer: dict[str, Any] = json.loads(finished.stdout)
    return answer


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def page(result: dict[str, Any], weights: Weights) -> str:
    """The rows for the page beside the weights."""
    n, accuracy, served = result["images"], result["accuracy"], result["served"]
    parity = result["parity"]
    error = math.sqrt(accuracy * (1 - accuracy) / n)
    precision, exact = result["precision"], result["float32"]["accuracy"]
    price = cost(weights.network, weights.spec.size)
    rows = [
        [
            f"top-1 accuracy on the {n:,} test images in {precision}, one view of each",
            f"**{percent(accuracy)}** (one training run; sampling error ± {100 * error:.2f})",
        ],
        ["the same in float32", percent(exact)],
        [
            f"the same images, sent as files to a TorchServe that serves {precision}",
            f"{served['answered']:,} answered, {served['same_label']:,} with the same label",
        ],
        [
            f"TorchScript against the network, on {parity['images']} images",
            f"logits differ by at most {parity['max_difference']:.1e}",
        ],
        [
            "parameters, and multiply-adds for an image",
            f"{price.parameters:,}, {price.multiply_adds / 1e6:.1f} million",
        ],
    ]
    return (
        f"{table(['the included CIFAR-10 model', ''], rows)}\n\n"
        f"{document.measured('accuracy', result['machine'])}\n"
    )


def chain(name: str) -> str:
    """The recipes that lead to one, with their epochs and teachers."""
    recipe = recipes.load(name)
    taught = f", taught by `{recipe.teacher}`" if recipe.teacher else ""
    length = f"{recipe.epochs} epoch{'' if recipe.epochs == 1 else 's'}"
    said = f"`{name}`, {length}{taught}"
    return f"{chain(recipe.begins_with)}; then {said}" if recipe.begins_with else said


def card(result: dict[str, Any], weights: Weights) -> str:
    """The page beside the weights."""
    made = weights.card
    name = json.loads(made["recipe"])["recipe"]
    environment = ", ".join(f"{name} {value}" for name, value in made["environment"].items())
    if made["validation_accuracy"] is None:
        chosen = "What was chosen was chosen in other runs, with 5,000 of them held out."
    else:
        reached = percent(made["validation_accuracy"])
        chosen = f"On the others, by which it was chosen, they reach {reached}."
    return f"""# The weights in cifar10.pt

Written by `{document.command("accuracy")}`.

{page(result, weights)}
## How they were made

By `falconet reproduce {name}`, on {made["images"]:,} of the 50,000 images in CIFAR-10's training
set (Alex Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009):
{chain(name)}. {chosen} Nothing was chosen by the test set.

The training's environment: {environment}.

What is stored is the moving average of the weights, matrices and filters in half precision, and
{len(weights.samples)} images of the training set, which every export is checked on.

The recipe:

```json
{made["recipe"].strip()}
```

## What they are for

Showing and testing Falconet. They know ten classes of 32x32 images, and give one of them to
whatever they are shown: a larger image is squashed to 32x32 first.
"""


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--data", type=Path)
    data = parser.parse_args().data
    weights = Weights.load()
    result = document.conditions() | measure(weights, ["--data", str(data)] if data else [])
    print(page(result, weights))
    document.keep("accuracy", result)
    CARD.write_text(card(result, weights))


if __name__ == "__main__":
    main()
