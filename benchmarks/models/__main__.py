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
from falconet.model.importers.model import Wanted
from falconet.model.importing import write

from .. import document
from ..progress import progress
from ..table import table

TORCHVISION = (
    "alexnet", "vgg11_bn", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2",
    "densenet121", "googlenet", "inception_v3", "squeezenet1_1", "mobilenet_v2",
    "mobilenet_v3_large", "mobilenet_v3_small", "shufflenet_v2_x1_0", "mnasnet1_0",
    "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf", "convnext_tiny",
    "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"
)  # fmt: skip
TIMM = (
    "convnext_atto", "resnet10t", "mobilenetv4_conv_small", "regnetz_005",
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "levit_128s", "efficientvit_b0",
    "mobileone_s0", "repvgg_a0", "ghostnet_100", "lcnet_050", "xcit_nano_12_p16_224",
    "edgenext_xx_small", "poolformer_s12", "vit_tiny_patch16_384", "convnextv2_atto",
    "mixer_s32_224", "tinynet_e", "rexnet_100", "fastvit_t8", "pit_ti_224"
)  # fmt: skip
SOURCES = [f"torchvision:{name}" for name in TORCHVISION] + [f"timm:{name}" for name in TIMM]
QUICK = 3


def imported(source: str) -> dict[str, Any]:
    """What became of one."""
    torch.manual_seed(0)
    with TemporaryDirectory(prefix="falconet-") as temporary:
        try:
            model = load(source, Wanted(random=True))
            proof = write(model, Path(temporary))
            trial = try_out(Path(temporary), Serving())
        except (RuntimeError, ValueError) as error:
            return {"source": source, "error": str(error).splitlines()[0]}
    spec = {name: getattr(model.spec, name) for name in ("size", "resize", "filter")}
    return {"source": source, **spec, **asdict(proof), "precision": trial.serving.precision}


def page(result: dict[str, Any]) -> str:
    """The table, and what it was measured on."""
    rows = []
    for each in result["models"]:
        if "error" in each:
            rows.append([f"`{each['source']}`", *[""] * 6, f"refused: {each['error']}"])
            continue
        of = each["pictures"]
        rows.append(
            [
                f"`{each['source']}`",
                f"{each['resize'] or 'squash'} / {each['size'][0]}, {each['filter']}",
                f"{each['same_bytes']} of {of}",
                f"{each['input_difference']:.1e}",
                f"{each['logit_difference']:.1e}",
                f"{each['same_top1']} of {of}",
                str(each["classes_named"]),
                {"auto": "bfloat16 where it is fast"}.get(each["precision"], each["precision"]),
            ]
        )
    heads = ["model", "resized / cropped to", "same bytes", "input", "logits", "same class"]
    heads += ["different ones", "served in"]
    taken = sum("error" not in each for each in result["models"])
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torchvision", "timm"))
    measured = document.measured("models", result["machine"])
    return (
        f"{table(heads, rows)}\n\n{taken} of {len(rows)} were taken over. Input: the largest "
        "difference of two values; logits: of two of them, as a share of the largest. "
        f"{measured} {versions}.\n"
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
    print(page(result))
    document.keep("models", result, quick)
    if not quick:
        document.write(document.DOCS / "models.md", "models", page(result))


if __name__ == "__main__":
    main()
