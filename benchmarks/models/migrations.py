"""Archives of TorchServe's own handlers beside what `falconet migrate` makes of them."""

import inspect
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torchvision import models

from falconet.cli.migrate import generated_files
from falconet.native import available_cores

from .stock import DIGITS, pack, script

# The network of TorchServe's MNIST example, in one class.
DIGITS_NETWORK = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10),
        )
"""
EAGER = """
from torchvision.models import {module}

class Net({module}.{name}):
    def __init__(self):
        super().__init__({arguments})
"""


def _names() -> dict[str, list[str]]:
    """As the file index_to_name.json of TorchServe's examples: two cranes, two maillots."""
    categories = models.ResNet18_Weights.DEFAULT.meta["categories"]
    return {str(i): [f"n{i:08}", name] for i, name in enumerate(categories)}


def _scripted(folder: Path) -> Path:
    script(models.resnet18().eval(), torch.rand(1, 3, 224, 224), folder / "net.pt")
    return pack(folder, names=_names())


def _eager(module: str, name: str, arguments: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        code = EAGER.format(module=module, name=name, arguments=arguments)
        made: dict[str, Any] = {}
        exec(inspect.cleandoc(code), made)
        torch.save(made["Net"]().state_dict(), folder / "net.pt")
        return pack(folder, names=_names(), model_file="net.py", files={"net.py": code})

    return make


def _digits(folder: Path) -> Path:
    made: dict[str, Any] = {}
    exec(DIGITS_NETWORK, made)
    script(made["Net"]().eval(), torch.rand(1, 1, 28, 28), folder / "net.pt")
    return pack(folder, handler="digits.py", files={"digits.py": DIGITS})


ARCHIVES: dict[str, Callable[[Path], Path]] = {
    "ResNet-18, TorchScript": _scripted,
    "SqueezeNet 1.1, eager": _eager("squeezenet", "SqueezeNet", "'1_1'"),
    "digits, gray, TorchScript": _digits,
}


def migrated(name: str, images: int) -> dict[str, Any]:
    """The comparison that the command makes, on so many made images."""
    torch.manual_seed(0)
    with TemporaryDirectory(prefix="falconet-") as temporary:
        folder = Path(temporary)
        old = ARCHIVES[name](folder)
        gray = ARCHIVES[name] is _digits
        (folder / "images").mkdir()
        size = (28, 28) if gray else (256, 256)
        count = images * 3 // 2 if gray else images
        for i, file in enumerate(generated_files(size, count, same_size=gray)):
            (folder / "images" / f"{i:05}.png").write_bytes(file)
        command = [sys.executable, "-m", "falconet.cli", "migrate", str(old), "--json"]
        command += ["--output", str(folder / "new.mar"), "--samples", str(folder / "images")]
        command += ["--size", "28"] if gray else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with zipfile.ZipFile(folder / "new.mar") as mar:
            proof: dict[str, Any] = json.loads(mar.read("proof.json"))
    return {"archive": name, "threads": available_cores(), **proof}
