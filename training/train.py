"""The training loop, top to bottom: data, network, optimizer, loop, result."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from falconet.model.ensemble import Ensemble
from falconet.model.network import ConvNet
from falconet.model.weights import Weights

from . import arithmetic, augment, distributed
from .balance import balanced_loss, check_classes, class_weights
from .capture import CapturedStep
from .distill import digest, distillation, load_teacher, taught
from .draw import draw
from .evaluate import score
from .images import Images
from .initial_weights import check_initial_weights, check_unseen, load_backbone, load_run
from .optimizer import load_moments
from .prepared import CACHE, Normalize
from .progress import bar, console
from .quantized import Int8
from .recipe import Recipe
from .run import Run
from .selection import select

WHITENING_IMAGES = 5000
WHITENING_PIXELS = WHITENING_IMAGES * 32 * 32  # fewer, if images are larger
CHECKPOINT_SECONDS = 10.0  # minimum between checkpoints; the last epoch always saves one

Row = dict[str, Any]  # of metrics.csv


def train(
    recipe: Recipe,
    source: Path | str,
    folder: Path,
    *,
    resume: bool = False,
    init_from: Path | str | None = None,
    backbone_weights: Path | None = None,
    teacher: Path | None = None,
    cache: int = CACHE,
    on_epoch: Callable[[Row], None] | None = None,
) -> Weights | None:
    """Train a network and save it as ``folder/weights.pt``.

    Runs on a GPU if there is one, or on all that torchrun assigns. Only the training set is read,
    unless the recipe holds out the ``"test"`` set. Random numbers are drawn per epoch from the seed
    and the epoch number, so an interrupted run resumes to the same weights.

    Args:
        recipe: settings of the run.
        source: of the images, as in :func:`falconet.training.data.load`.
        folder: of the run; see :class:`falconet.training.run.Run`.
        resume: continue from the folder's checkpoint.
        init_from: weights to start from; layers of another shape, such as the last one for other
            classes, start at random. Or the name of the recipe's backbone, for its published
            weights.
        backbone_weights: a file with these, written by ``torch.save`` or safetensors.
        teacher: weights of the recipe's ``teacher``.
        cache: maximum bytes of resized images in memory, in each process, for the training set and
            the held-out images each; larger sets are mapped from a file in the folder.
        on_epoch: called with each row of ``metrics.csv``; an exception that it raises ends the run.

    Returns:
        The weights; ``None`` in all processes but the one that writes the files.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: folder and ``resume`` do not fit, or the
            images are not laid out as expected, or too few, or one cannot be read.
        OSError: the disk is full; the last checkpoint is whole.
    """
    with distributed.join() as processes:
        return _train(
            processes,
            recipe,
            source,
            Run(folder),
            resume=resume,
            init_from=init_from,
            backbone_weights=backbone_weights,
            teacher=teacher,
            cache=cache,
            on_epoch=on_epoch,
        )


def _train(
    processes: distributed.Processes,
    recipe: Recipe,
    source: Path | str,
    run: Run,
    *,
    resume: bool,
    init_from: Path | str | None,
    backbone_weights: Path | None,
    teacher: Path | None,
    cache: int,
    on_epoch: Callable[[Row], None] | None,
) -> Weights | None:
    # ---- Setup ---------------------------------------------------------------------------------
    device = processes.device
    if processes.main:
        run.check(recipe, resume=resume)
    if not resume:
        check_initial_weights(recipe, init_from, backbone_weights)
    if recipe.batch_size % processes.count:
        raise ValueError(
            f"expected a batch_size that {processes.count} processes can share evenly, got "
            f"{recipe.batch_size}"
        )
    arithmetic.set_up(recipe)

    # ---- Images: which of them are trained on --------------------------------------------------
    if not processes.main:
        processes.wait()  # the main process may have to download
    chosen = select(recipe, source)
    dataset, labels = chosen.dataset, chosen.labels
    if processes.main:
        processes.wait()
    if processes.main:
        check_classes(dataset.classes, labels, chosen.held_labels, balanced=recipe.balanced)
    checkpoint = run.load_checkpoint(dataset.fingerprint) if resume else None
    teacher_digest = None if teacher is None else digest(teacher)
    if checkpoint is not None and checkpoint["teacher"] != teacher_digest:
        raise ValueError(f"{run.folder}: {teacher} is not the teacher that this run began with")
    if checkpoint is not None and checkpoint["finished"] and run.weights.exists():
        # The weights may have a temperature that was fitted later; the checkpoint lacks it.
        return Weights.load(run.weights) if processes.main else None
    for path in (init_from, teacher):
        if isinstance(path, Path) and checkpoint is None:
            check_unseen(recipe, chosen, path)

    # ---- Network: before the images, so that a wrong backbone is found before they are decoded --
    torch.manual_seed(recipe.seed)
    network, arguments = recipe.build(len(dataset.classes))
    if isinstance(init_from, str) and checkpoint is None:
        load_backbone(network, recipe, init_from, backbone_weights)
    if checkpoint is not None and "precision" in checkpoint:  # version 1.0 lacks it
        precision = checkpoint["precision"]
    else:
        precision = processes.from_main(arithmetic.precision_of(recipe, network, device))
    dtype = arithmetic.dtype_of(precision, device)
    # Without tensor cores, cuDNN's kernels for channels first are faster.
    exact_on_gpu = device.type == "cuda" and dtype == torch.float32
    layout = torch.contiguous_format if exact_on_gpu else torch.channels_last
    if processes.main and recipe.precision == "auto":
        console.print(f"training in {str(dtype).removeprefix('torch.')}")

    # ---- Data: resized by the serving code, and kept on the device -----------------------------
    images = Images.of(recipe, chosen, device, cache, run.folder)
    spec, train_x, held_x = images.spec, images.train_x, images.held_x
    normalize = Normalize(spec).to(device)
    if isinstance(network, ConvNet):
        few = min(WHITENING_IMAGES, max(1, WHITENING_PIXELS // train_x[0, 0].numel()))
        network.initialize_whitening(normalize(train_x[:few]).cpu())
    if isinstance(init_from, Path) and checkpoint is None:
        load_run(network, init_from)
    network.to(device, memory_format=layout)  # type: ignore[call-overload]
    average = None
    if recipe.ema_decay:
        smooth = get_ema_multi_avg_fn(recipe.ema_decay)
        average = AveragedModel(network, multi_avg_fn=smooth, use_buffers=True)
    kept = network if average is None else average.module
    evaluated = nn.Sequential(normalize, kept)
    parallel = processes.wrap(network)
    if recipe.compile:
        parallel = cast(nn.Module, torch.compile(parallel))
    teacher_network = load_teacher(recipe, teacher, spec)
    if teacher_network is not None:
        teacher_network.to(device, memory_format=layout)  # type: ignore[call-overload]

    # ---- Optimizer -----------------------------------------------------------------------------
    batches = len(train_x) // recipe.batch_size  # the rest of an epoch is dropped
    captures = arithmetic.captures(device, dtype)
    optimizer = recipe.optimizer.build(network, on_gpu=captures)
    for group in optimizer.param_groups:
        group["lr"] *= recipe.backbone_rate if group["backbone"] else 1
    weight = class_weights(labels, len(dataset.classes)).to(device) if recipe.balanced else None
    rates = [group["lr"] for group in optimizer.param_groups]
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    # ---- Loop ----------------------------------------------------------------------------------
    first_epoch, finished = 0, False
    best_epoch, best_accuracy = 0, -1.0
    best_state: dict[str, Tensor] | None = None
    snapshots: list[dict[str, Any]] = []
    init_from_name = init_from.name if isinstance(init_from, Path) else init_from
    if checkpoint is not None:
        network.load_state_dict(checkpoint["network"])
        if average is not None:
            average.load_state_dict(checkpoint["average"])
        load_moments(optimizer, checkpoint["optimizer"]["state"])
        best_epoch, best_accuracy = checkpoint["best_epoch"], checkpoint["best_accuracy"]
        best_state, snapshots = checkpoint["best_state"], checkpoint["snapshots"]
        if checkpoint.get("scaler"):  # empty or missing without gradient scaling
            scaler.load_state_dict(checkpoint["scaler"])
        first_epoch, finished = checkpoint["epoch"], checkpoint["finished"]
        init_from_name = checkpoint["init_from"]
        if processes.main:
            run.resumed_at(first_epoch, processes.count)
            console.print(f"going on after epoch {first_epoch} of {recipe.epochs}")

    def state(epoch: int) -> dict[str, Any]:
        return {
            "epoch": epoch,
            "finished": finished,
            "data": dataset.fingerprint,
            "network": network.state_dict(),
            "average": None if average is None else average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "best_epoch": best_epoch,
            "best_accuracy": best_accuracy,
            "best_state": best_state,
            "snapshots": snapshots,
            "precision": precision,
            "init_from": init_from_name,
            "teacher": teacher_digest,
        }

    total = torch.zeros(2, device=device)  # loss, correct predictions

    def step(
        index: Tensor, chance: Tensor, mirror: Tensor, place: Tensor, read: Tensor | None = None
    ) -> None:
        """One optimizer step, entirely on the device except for images read from disk."""
        x, y = train_x[index] if read is None else read, images.train_y[index]
        x = normalize(
            recipe.augmentation.crop_and_jitter(x, chance, images.ratios[index], recipe.size)
        )
        x = recipe.augmentation(x, chance, mirror)
        target = y
        if recipe.augmentation.cutmix:
            target = F.one_hot(y, len(dataset.classes)).float()
            x, target = augment.cutmix(x, target, place)
        x = x.contiguous(memory_format=layout)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            with Int8() if recipe.int8 else nullcontext():
                logits = parallel(x).float()
            if teacher_network is not None:
                answers = taught(teacher_network, x, recipe.augmentation)
        if teacher_network is not None:
            loss = distillation(logits, answers, recipe.temperature)
        elif weight is not None:
            loss = balanced_loss(logits, target, weight, recipe.label_smoothing)
        else:
            loss = F.cross_entropy(logits, target, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        total.add_(torch.stack([loss.detach() * len(y), (logits.argmax(1) == y).sum()]))

    take: Callable[..., None] = step
    if captures:
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"], device=device)
        take = CapturedStep(step) if processes.count == 1 else step

    if processes.main and checkpoint is None:
        run.begin(recipe, processes.count, state(0))
    saved = time.perf_counter()

    with bar(
        "training", recipe.epochs * batches, first_epoch * batches, processes.main
    ) as progress:
        for epoch in range(first_epoch, first_epoch if finished else recipe.epochs):
            began = time.perf_counter()
            torch.manual_seed(recipe.seed + 1000 * epoch + processes.rank)  # for dropout
            parallel.train()
            total.zero_()
            drawn = [table.to(device) for table in draw(recipe, len(train_x), batches, epoch)]
            order, chances, mirrors, boxes = drawn
            for batch in range(batches):
                multiple = recipe.schedule.multiple(epoch * batches + batch, batches, recipe.epochs)
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    if isinstance(group["lr"], Tensor):
                        group["lr"].fill_(rate * multiple)
                    else:
                        group["lr"] = rate * multiple
                part = slice(batch * recipe.batch_size, (batch + 1) * recipe.batch_size)
                its = [processes.share(table[part]) for table in (order, chances, mirrors)]
                read = [train_x[its[0].cpu()].to(device)] if images.on_disk else []
                take(*its, boxes[batch], *read)
                if average is not None:
                    average.update_parameters(network)
                progress.advance(progress.task_ids[0])

            loss_sum, right = (processes.sum(total) / (batches * recipe.batch_size)).tolist()
            seconds = time.perf_counter() - began
            if processes.main:
                row: Row = {
                    "epoch": epoch + 1,
                    "loss": round(loss_sum, 4),
                    "accuracy": round(right, 4),
                    "validation_loss": None,
                    "validation_accuracy": None,
                    "learning_rate": f"{recipe.optimizer.learning_rate * multiple:.3g}",
                    "seconds": round(seconds, 4),
                }
                if len(held_x):
                    with Int8() if recipe.int8 else nullcontext():
                        held_score = score(evaluated, held_x, images.held_y, dtype)
                    row["validation_loss"] = round(held_score.loss, 4)
                    row["validation_accuracy"] = held_score.accuracy
                    if held_score.accuracy > best_accuracy:
                        best_epoch, best_accuracy = epoch + 1, held_score.accuracy
                        best_state = _copy(kept) if recipe.keep == "best" else None
                if epoch + 1 in recipe.snapshot_epochs:
                    snapshots.append(_copy(kept))
                waited = epoch + 1 - best_epoch
                finished = epoch + 1 == recipe.epochs or 0 < recipe.patience <= waited
                run.log(row)
                if finished or time.perf_counter() - saved >= CHECKPOINT_SECONDS:
                    run.save_checkpoint(state(epoch + 1))
                    saved = time.perf_counter()
                progress.console.print(_line(row, recipe.epochs), highlight=False)
                if on_epoch is not None:
                    on_epoch(row)
            if processes.from_main(finished):
                break

    # ---- Result --------------------------------------------------------------------------------
    if not processes.main:
        return None
    result: nn.Module
    if recipe.snapshots:
        member = {"member": recipe.network.__name__, "arguments": arguments}
        arguments = {**member, "count": len(snapshots)}
        result = Ensemble(**arguments)
        result.load_members(snapshots)
    else:
        result, _ = recipe.build(len(dataset.classes))
        result.load_state_dict(best_state or _copy(kept))
    tested = nn.Sequential(normalize, result).to(device)
    validated = score(tested, held_x, images.held_y).accuracy if len(held_x) else None
    rows = run.rows()
    weights = Weights(
        network=result.eval(),
        arguments=arguments,
        spec=spec,
        samples=images.samples,
        card={
            "recipe": recipe.to_json(),
            "environment": run.environment(),
            "data": dataset.fingerprint,
            "precision": precision,
            "images": len(train_x),
            "validation_images": len(held_x),
            "validation_accuracy": validated,
            "epochs": len(rows),
            "seconds": round(sum(float(row["seconds"]) for row in rows), 1),
            "init_from": init_from_name,
        },
    )
    result.cpu()
    weights.save(run.weights)
    return weights


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _line(row: Row, epochs: int) -> str:
    """An epoch's metrics as a line for the terminal."""
    line = f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.2%}"
    if row["validation_accuracy"] is not None:
        line += f"  validation {row['validation_accuracy']:.2%}"
    return line + f"  {row['seconds']:.1f} s"
