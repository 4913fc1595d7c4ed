"""Images of a folder through a network in float32, in the way that most people write it.

    python -m benchmarks.scoring.loop FOLDER MODEL_FOLDER OUTPUT

PyTorch's DataLoader with a process per core decodes and transforms with Pillow and torchvision; the
network runs on all cores. Writes a line for each image: its path and its label.
"""

import csv
import json
import os
import sys
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

BATCH = 32


class Images(Dataset[tuple[str, torch.Tensor]]):
    """The JPEG files of a folder, transformed as a ``spec.json`` states."""

    def __init__(self, folder: Path, spec: dict[str, object]) -> None:
        self._paths = sorted(folder.glob("*.jpg"))
        self._transform = transforms.Compose(
            [
                transforms.Resize(spec["resize"]),
                transforms.CenterCrop(spec["size"]),
                transforms.ToTensor(),
                transforms.Normalize(spec["mean"], spec["std"]),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[str, torch.Tensor]:
        path = self._paths[index]
        return str(path), self._transform(Image.open(path).convert("RGB"))


@torch.inference_mode()
def main() -> None:
    folder, model_folder, output = map(Path, sys.argv[1:])
    spec = json.loads((model_folder / "spec.json").read_text())
    model = torch.jit.load(str(model_folder / "model.pt")).eval()
    cores = len(os.sched_getaffinity(0))
    loader = DataLoader(Images(folder, spec), batch_size=BATCH, num_workers=cores)
    with output.open("w", newline="") as file:
        writer = csv.writer(file)
        for paths, tensors in loader:
            best = model(tensors).argmax(1).tolist()
            writer.writerows(zip(paths, (spec["classes"][i] for i in best), strict=True))


if __name__ == "__main__":
    main()
