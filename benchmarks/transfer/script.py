"""Typical transfer learning with torchvision: ImageFolder, DataLoader and a training loop.

Settings come from the command line, so that both sides use the same. Imports nothing of Falconet.
"""

import argparse
import os
from pathlib import Path

import timm
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, random_split
from torchvision import datasets
from torchvision.transforms import InterpolationMode, v2

parser = argparse.ArgumentParser()
parser.add_argument("data", type=Path)
parser.add_argument("output", type=Path)
parser.add_argument("--network", required=True)
parser.add_argument("--weights", type=Path, required=True)
parser.add_argument("--mean", type=float, required=True)
parser.add_argument("--std", type=float, required=True)
parser.add_argument("--size", type=int, required=True)
parser.add_argument("--resize", type=int, required=True)
parser.add_argument("--validation", type=int, required=True)
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--batch-size", type=int, required=True)
parser.add_argument("--learning-rate", type=float, required=True)
parser.add_argument("--backbone-rate", type=float, required=True)
parser.add_argument("--momentum", type=float, required=True)
parser.add_argument("--weight-decay", type=float, required=True)
parser.add_argument("--label-smoothing", type=float, required=True)
parser.add_argument("--warm-up", type=float, required=True)
parser.add_argument("--random-crop", type=float, required=True)
parser.add_argument("--jitter", type=float, required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument(
    "--test", action="store_true", help="print the accuracy of OUTPUT on the test set"
)
args = parser.parse_args()

torch.manual_seed(args.seed)
workers = len(os.sched_getaffinity(0))
bicubic = InterpolationMode.BICUBIC
to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
normalize = v2.Normalize([args.mean] * 3, [args.std] * 3)
train_transform = v2.Compose(
    [
        v2.RandomResizedCrop(args.size, scale=(args.random_crop, 1.0), interpolation=bicubic),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(args.jitter, args.jitter, args.jitter),
        *to_tensor,
        normalize,
    ]
)
test_transform = v2.Compose(
    [v2.Resize(args.resize, bicubic), v2.CenterCrop(args.size), *to_tensor, normalize]
)


@torch.inference_mode()
def accuracy(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    correct = total = 0
    for images, labels in loader:
        correct += (model(images).argmax(1) == labels).sum().item()
        total += len(labels)
    return correct / total


if args.test:
    test_set = datasets.ImageFolder(args.data / "test", test_transform)
    model = timm.create_model(args.network, num_classes=len(test_set.classes))
    model.load_state_dict(torch.load(args.output))
    print(accuracy(model, DataLoader(test_set, 64, num_workers=workers)))
    raise SystemExit

train_set = datasets.ImageFolder(args.data / "train", train_transform)
classes = len(train_set.classes)
val_set = datasets.ImageFolder(args.data / "train", test_transform)
train_part, val_part = random_split(
    range(len(train_set)), [len(train_set) - args.validation, args.validation]
)
train_loader = DataLoader(
    Subset(train_set, list(train_part)),
    args.batch_size,
    shuffle=True,
    drop_last=True,
    num_workers=workers,
    persistent_workers=True,
)
val_loader = DataLoader(
    Subset(val_set, list(val_part)), 64, num_workers=workers, persistent_workers=True
)

model = timm.create_model(args.network)
model.load_state_dict(torch.load(args.weights))
model.reset_classifier(classes)
head = {id(parameter) for parameter in model.get_classifier().parameters()}
groups = [
    {"params": [p for p in model.parameters() if id(p) in head], "lr": args.learning_rate},
    {
        "params": [p for p in model.parameters() if id(p) not in head],
        "lr": args.learning_rate * args.backbone_rate,
    },
]
optimizer = torch.optim.SGD(
    groups, momentum=args.momentum, nesterov=True, weight_decay=args.weight_decay
)
scheduler = torch.optim.lr_scheduler.OneCycleLR(
    optimizer,
    [group["lr"] for group in groups],
    total_steps=args.epochs * len(train_loader),
    pct_start=args.warm_up,
    anneal_strategy="linear",
    cycle_momentum=False,
    div_factor=5.0,
    final_div_factor=20.0,
)
criterion = nn.CrossEntropyLoss(label_smoothing=args.label_smoothing)

for epoch in range(args.epochs):
    model.train()
    for images, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
    print(f"epoch {epoch + 1}: validation {accuracy(model, val_loader):.2%}", flush=True)
torch.save(model.state_dict(), args.output)
