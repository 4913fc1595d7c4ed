"""falconet train"""

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import click

from .cache import cache_option
from .data import data_option
from .initial_weights import init_from_option, load_recipe_from, weights_option
from .recipe_arguments import split_assignments
from .teacher import teacher_option


@click.command()
@click.argument("arguments", nargs=-1, metavar="[RECIPE] [FIELD=VALUE]...")
@data_option
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Output folder of the run.  [default: runs/RECIPE-TIME]",
)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of an interrupted run to continue, with its own recipe.",
)
@init_from_option
@weights_option
@teacher_option
@cache_option
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of runs, each with its own seed. The same command continues interrupted runs.",
)
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Write logs for TensorBoard as well; needs the package tensorboard.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(
    arguments: tuple[str, ...],
    data: Path | str,
    output: Path | None,
    resume: Path | None,
    init_from: Path | str | None,
    weights: Path | None,
    teacher: Path | None,
    cache: int,
    seeds: int,
    tensorboard: bool,
    as_json: bool,
) -> None:
    """Trains a network with a RECIPE; FIELD=VALUE replaces a field of it.

    \b
    falconet train fast94
    falconet train fast94 epochs=10 learning_rate=0.5 --data images/
    falconet train --init-from torchvision:resnet18 --data photographs/
    falconet train --resume runs/fast94-20260101-120000
    torchrun --nproc-per-node 4 -m falconet.cli train champion --output runs/big

    With a backbone, the default RECIPE is transfer, and images are preprocessed as the backbone
    expects. `falconet recipes` lists the recipes, `falconet show RECIPE` the fields. The run's
    folder then has weights.pt, for: falconet report runs/..., falconet archive runs/.../weights.pt
    """
    from falconet.training import recipes
    from falconet.training.distributed import require_one
    from falconet.training.run import Run
    from falconet.training.tensorboard import tensorboard_writer
    from falconet.training.train import train as run

    names, overrides = split_assignments(arguments)
    if resume is not None:
        if arguments or output or init_from or weights or seeds > 1:
            raise click.UsageError(
                "--resume continues a run with its own recipe; expected no RECIPE, --output, "
                "--init-from, --weights or --seeds with it"
            )
        recipe = recipes.begun(Run(resume))
    else:
        recipe = load_recipe_from(init_from, names, overrides)

    first = resume or output or Path("runs", f"{recipe.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    if seeds > 1:
        require_one("--seeds")
    found = []
    for seed in range(recipe.seed, recipe.seed + seeds):
        folder = first if seeds == 1 else first / f"seed-{seed}"
        begun = resume is not None or (seeds > 1 and Run(folder).recipe.exists())
        trained = run(
            replace(recipe, seed=seed),
            data,
            folder,
            resume=begun,
            init_from=init_from,
            backbone_weights=weights,
            teacher=teacher,
            cache=cache,
            on_epoch=tensorboard_writer(folder) if tensorboard else None,
        )
        if trained is None:
            return  # only one of several processes prints the result
        accuracy = trained.card["validation_accuracy"]
        found.append({"folder": str(folder), "seed": seed, "validation_accuracy": accuracy})
        if not as_json:
            held_out = "" if accuracy is None else f", {accuracy:.2%} on the validation images"
            click.echo(f"{folder / 'weights.pt'}{held_out}")
    accuracies = [one["validation_accuracy"] for one in found if one["validation_accuracy"]]
    if as_json:
        click.echo(json.dumps(found[0] if seeds == 1 else found))
    elif len(accuracies) > 1:
        mean, deviation = statistics.mean(accuracies), statistics.stdev(accuracies)
        click.echo(f"{mean:.2%}, standard deviation {deviation:.2%}, n = {len(accuracies)}")
    elif seeds > 1:
        click.echo("no validation images to compare the runs on; add validation=5000")
