"""The training loop, top to bottom: data, network, optimizer, loop, result."""

import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from falconet.model.network import ConvNet
from falconet.model.spec import Spec
from falconet.model.weights import Weights

from . import augment, data
from .progress import bar, console
from .recipe import Recipe
from .run import Run, describe_environment

SAMPLES = 64  # pictures kept with the weights, to check exports with
WHITENING_PICTURES = 5000
EVALUATION_BATCH = 1000


def train(recipe: Recipe, pictures: Path | None, folder: Path, *, resume: bool = False) -> Weights:
    """Train a network and leave it in ``folder/weights.pt``.

    Runs on a GPU where there is one, in bfloat16 autocast either way. Only the training set is
    read; the part of it that the recipe holds out is evaluated after every epoch. What is kept is
    the moving average of the last epoch, so nothing is selected on the way.

    Args:
        recipe: what to do.
        pictures: a folder as in :func:`falconet.training.data.load`, or CIFAR-10's download.
        folder: of the run; see :class:`falconet.training.run.Run`.
        resume: go on from the folder's checkpoint.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: folder and ``resume`` do not fit, or the
            pictures are not laid out as expected, or too few.
    """
    # ---- Setup ---------------------------------------------------------------------------------
    run = Run(folder)
    run.check(recipe, resume=resume)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(recipe.seed)
    random = torch.Generator().manual_seed(recipe.seed)

    # ---- Data: normalized once, by the code that will serve, and kept on the device -----------
    dataset = data.load(pictures, "train")
    training, validation = data.hold_out(dataset.labels, recipe.validation, recipe.seed)
    if len(training) < recipe.batch_size:
        raise ValueError(
            f"there are {len(dataset.labels)} pictures; with validation={recipe.validation} of "
            f"them held out, {len(training)} are left to train on, less than a batch_size of "
            f"{recipe.batch_size}: make one or the other smaller"
        )
    checkpoint = run.load_checkpoint(dataset.fingerprint) if resume else None
    if checkpoint is None:
        run.begin(recipe)
    decoded = data.decode_all(dataset)
    mean, std = data.channel_statistics([decoded[i] for i in training])
    spec = Spec(recipe.size, dataset.classes, mean=mean, std=std, top_k=recipe.top_k)

    preprocess = spec.preprocessor()
    labels = torch.from_numpy(dataset.labels)
    train_x = torch.from_numpy(preprocess([decoded[i] for i in training])).to(device)
    train_y = labels[training].to(device)
    held_x = torch.from_numpy(preprocess([decoded[i] for i in validation])).to(device)
    held_y = labels[validation].to(device)
    sample_from = validation if len(validation) else training
    samples = [decoded[i] for i in sample_from[:: max(1, len(sample_from) // SAMPLES)][:SAMPLES]]
    del decoded

    # ---- Network -------------------------------------------------------------------------------
    network = ConvNet(recipe.widths, len(dataset.classes))
    network.initialize_whitening(train_x[:WHITENING_PICTURES].cpu())
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True
    )

    # ---- Optimizer -----------------------------------------------------------------------------
    batches = len(train_x) // recipe.batch_size  # the rest of an epoch is dropped
    steps = batches * recipe.epochs
    trained = [p for p in network.parameters() if p.requires_grad]
    weights_and_biases: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1]},
        {
            "params": [p for p in trained if p.ndim == 1],
            "lr": recipe.learning_rate * recipe.bias_rate,
            "weight_decay": recipe.weight_decay / recipe.bias_rate,
        },
    ]
    optimizer = torch.optim.SGD(
        weights_and_biases,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )

    def rate(step: int) -> float:
        progress = step / steps
        if progress < recipe.warm_up:
            return 0.2 + 0.8 * progress / recipe.warm_up
        return 1 - (1 - recipe.final_rate) * (progress - recipe.warm_up) / (1 - recipe.warm_up)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    # ---- Loop ----------------------------------------------------------------------------------
    mirrored = torch.rand(len(train_x), generator=random) < 0.5
    first_epoch = 0
    if checkpoint is not None:
        network.load_state_dict(checkpoint["network"])
        average.load_state_dict(checkpoint["average"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        schedule.load_state_dict(checkpoint["schedule"])
        random.set_state(checkpoint["random"])
        first_epoch = checkpoint["epoch"]
        console.print(f"going on after epoch {first_epoch} of {recipe.epochs}")

    with bar("training", steps, first_epoch * batches) as progress:
        for epoch in range(first_epoch, recipe.epochs):
            began = time.perf_counter()
            network.train()
            total_loss = torch.zeros((), device=device)
            order = torch.randperm(len(train_x), generator=random)
            for index in order.split(recipe.batch_size)[:batches]:
                x, y = train_x[index.to(device)], train_y[index.to(device)]
                if recipe.flip:
                    x = augment.flip(x, (mirrored[index] ^ (epoch % 2 == 1)).to(device))
                x = augment.translate(x, recipe.translate, random)
                x = augment.cutout(x, recipe.cutout, random)
                x = x.contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16):
                    logits = network(x)
                loss = F.cross_entropy(logits.float(), y, label_smoothing=recipe.label_smoothing)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                average.update_parameters(network)
                total_loss += loss.detach()
                progress.advance(progress.task_ids[0])

            row: dict[str, Any] = {
                "epoch": epoch + 1,
                "loss": round(total_loss.item() / batches, 4),
                "seconds": round(time.perf_counter() - began, 1),
                "validation_accuracy": accuracy(average, held_x, held_y),
            }
            run.log(row)
            run.save_checkpoint(
                {
                    "epoch": epoch + 1,
                    "data": dataset.fingerprint,
                    "network": network.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "random": random.get_state(),
                }
            )
            progress.console.print(
                "  ".join(f"{name} {value}" for name, value in row.items()), highlight=False
            )

    # ---- Result --------------------------------------------------------------------------------
    kept = ConvNet(recipe.widths, len(dataset.classes))
    kept.load_state_dict(average.module.state_dict())
    weights = Weights(
        network=kept.eval(),
        spec=spec,
        samples=samples,
        card={
            "recipe": recipe.to_json(),
            "environment": describe_environment(),
            "pictures": len(train_x),
            "validation_pictures": len(held_x),
            "validation_accuracy": accuracy(average, held_x, held_y),
        },
    )
    weights.save(run.weights)
    return weights


@torch.inference_mode()
def accuracy(network: torch.nn.Module, pictures: Tensor, labels: Tensor) -> float | None:
    """The share of pictures whose top-1 class is right; ``None`` where there are none."""
    if len(pictures) == 0:
        return None
    network.eval()
    right = torch.zeros((), dtype=torch.long, device=pictures.device)
    for x, y in zip(pictures.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
        with torch.autocast(pictures.device.type, torch.bfloat16):
            right += (network(x).argmax(1) == y).sum()
    return right.item() / len(pictures)
