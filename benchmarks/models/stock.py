"""Archives of TorchServe's own handlers, made as its documentation says."""

import json
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

# The handler of TorchServe's MNIST example.
DIGITS = """
from torchvision import transforms
from ts.torch_handler.image_classifier import ImageClassifier

class Digits(ImageClassifier):
    image_processing = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )

    def postprocess(self, data):
        return data.argmax(1).tolist()
"""


def script(network: nn.Module, example: torch.Tensor, path: Path) -> None:
    """Write a network as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, example).save(str(path))


def pack(
    folder: Path,
    *,
    handler: str = "image_classifier",
    model_file: str = "",
    names: Any = None,
    files: Mapping[str, str] | None = None,
    config: str = "",
) -> Path:
    """An archive of ``net.pt`` in a folder, version 2.5.

    Args:
        folder: with ``net.pt``.
        handler: by name, or a file.
        model_file: with the network's class, where ``net.pt`` is a state dict.
        names: what ``index_to_name.json`` says, if it is there.
        files: text by name, to be written beforehand.
        config: text of ``model-config.yaml``.
    """
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
    options = ["--handler", handler]
    if model_file:
        options += ["--model-file", model_file]
    if names is not None:
        (folder / "index_to_name.json").write_text(json.dumps(names))
        options += ["--extra-files", "index_to_name.json"]
    if config:
        (folder / "config.yaml").write_text(config)
        options += ["--config-file", "config.yaml"]
    command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "old"]
    command += ["--version", "2.5", "--serialized-file", "net.pt", *options]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "old.mar"
