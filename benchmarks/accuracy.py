"""Measures the shipped weights on the whole test set, offline and served, and writes it down.

    .venv/bin/python benchmarks/accuracy.py --data DIR

DIR holds test/<class>/<picture>; without it CIFAR-10 is downloaded. Writes benchmarks/results/
accuracy.json, the weights' card model/pretrained/cifar10.md, and the table in README.md.
"""

import argparse
import json
import math
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import PIL
import torch
from document import RESULTS, ROOT, replace_between

from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.model.cost import cost
from falconet.model.export import export
from falconet.model.weights import PRETRAINED, Weights
from falconet.serving.configuration import Configuration
from falconet.serving.server import Server
from falconet.training.run import processor

RESULT = RESULTS / "accuracy.json"
CARD = PRETRAINED.with_suffix(".md")
EXAMPLE = ROOT / "tests" / "pictures" / "cifar10" / "04-frog.png"


def measure(weights: Weights, data: list[str]) -> dict[str, Any]:
    """Evaluate an archive in this process and through a TorchServe that serves it."""
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        folder = Path(temporary)
        parity = export(weights, folder / "exported")
        archive(folder / "exported", folder / "store" / "cifar10.mar", handler=ENTRY)
        configuration = Configuration.load(inference=0, management=0, metrics=0)
        server = Server.start(folder / "store" / "cifar10.mar", folder / "state", configuration)
        try:
            server.wait_ready(EXAMPLE.read_bytes())
            url = server.client.prediction_url("cifar10")
            command = [sys.executable, "-m", "falconet.cli", "evaluate", "--json", "--url", url]
            source = str(folder / "store" / "cifar10.mar")
            finished = subprocess.run(
                [*command, *data, source], stdout=subprocess.PIPE, text=True, check=False
            )
        finally:
            server.stop()
    return {
        **json.loads(finished.stdout),
        "parity": vars(parity),
        "machine": f"{processor()}, {torch.get_num_threads()} cores",
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "pillow": PIL.__version__,
            "torchserve": "0.12.0",
        },
    }


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def table(result: dict[str, Any], weights: Weights) -> str:
    """The rows for README.md."""
    n, accuracy, served = result["pictures"], result["accuracy"], result["served"]
    parity = result["parity"]
    error = math.sqrt(accuracy * (1 - accuracy) / n)
    price = cost(weights.network, weights.spec.size)
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"""| the CIFAR-10 model that comes along | |
| --- | --- |
| top-1 accuracy on the {n:,} test pictures, one view of each | **{percent(accuracy)}** \
(one training run; sampling error ± {100 * error:.2f}) |
| the same pictures, sent as files to a running TorchServe | {served["answered"]:,} answered, \
{served["same_label"]:,} with the same label |
| TorchScript against the network, on {parity["pictures"]} pictures | logits differ by at most \
{parity["max_difference"]:.1e} |
| parameters, and multiply-adds for a picture | {price.parameters:,}, \
{price.multiply_adds / 1e6:.1f} million |

Measured by `benchmarks/accuracy.py` on {result["machine"]}; {versions}.
"""


def card(result: dict[str, Any], weights: Weights) -> str:
    """The page beside the weights."""
    made = weights.card
    epochs = json.loads(made["recipe"])["epochs"]
    environment = ", ".join(f"{name} {value}" for name, value in made["environment"].items())
    if made["validation_accuracy"] is None:
        chosen = "What was chosen was chosen in other runs, with 5,000 of them held out."
    else:
        reached = percent(made["validation_accuracy"])
        chosen = f"On the others, by which it was chosen, they reach {reached}."
    return f"""# The weights in cifar10.pt

Written by `benchmarks/accuracy.py`.

{table(result, weights)}
## How they were made

By `falconet train`, on {made["pictures"]:,} of the 50,000 pictures in CIFAR-10's training set
(Alex Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009), in
{epochs} epochs. {chosen} The test set was not looked at before the end.

The training's environment: {environment}.

What is stored is the moving average of the weights, matrices and filters in half precision, and
{len(weights.samples)} pictures of the training set, which every export is checked on.

The recipe:

```json
{made["recipe"].strip()}
```

## What they are for

Showing and testing Falconet. They know ten classes of 32x32 pictures, and give one of them to
whatever they are shown: a larger picture is squashed to 32x32 first.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    data = parser.parse_args().data
    weights = Weights.load()
    result = measure(weights, ["--data", str(data)] if data else [])
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    CARD.write_text(card(result, weights))
    replace_between(ROOT / "README.md", "accuracy", table(result, weights))
    print(table(result, weights))


if __name__ == "__main__":
    main()
