"""Searching a recipe's hyper-parameters by accuracy on the images held out (with Optuna)."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy.pool import NullPool

from .distributed import require_one
from .prepared import CACHE
from .progress import console
from .recipe import Recipe
from .train import Row, train

# A trial below the median of earlier trials is pruned, once this many are finished.
TRIALS_BEFORE_PRUNING = 4


@dataclass(frozen=True)
class Range:
    """Numbers from low to high; on a logarithmic scale where they span a factor of ten."""

    name: str
    low: float
    high: float
    whole: bool

    def suggest(self, trial: optuna.Trial) -> float:
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high))
        log = self.low > 0 and self.high / self.low >= 10
        return trial.suggest_float(self.name, self.low, self.high, log=log)


@dataclass(frozen=True)
class Choice:
    """One of some values, as they are written on a command line."""

    name: str
    values: tuple[str, ...]

    def suggest(self, trial: optuna.Trial) -> str:
        return str(trial.suggest_categorical(self.name, self.values))


Space = Sequence[Range | Choice]


def parse(words: Sequence[str], recipe: Recipe) -> Space:
    """What to search, from ``learning_rate=0.1..1`` and ``cutout=0|8|12``.

    Raises:
        ValueError: a field that the recipe does not have, or no range of its type.
    """
    known = recipe.choices()
    space: list[Range | Choice] = []
    for word in words:
        name, _, text = word.partition("=")
        if name not in known:
            raise ValueError(f"unknown field {name!r}; known are {', '.join(known)}")
        if "|" in text:
            values = tuple(text.split("|"))
            for value in values:
                recipe.override([f"{name}={value}"])
            space.append(Choice(name, values))
            continue
        kind = known[name][0]
        try:
            low, high = (kind(end) for end in text.split(".."))
        except (TypeError, ValueError):
            low, high = 1, 0
        if kind not in (int, float) or not low < high or not math.isfinite(high):
            raise ValueError(
                f"{name}: expected a range like 0.1..1 of numbers, or choices like 0|8|12, got "
                f"{text!r}"
            )
        space.append(Range(name, low, high, whole=kind is int))
    return space


def tune(
    recipe: Recipe,
    space: Space,
    source: Path | str,
    folder: Path,
    trials: int,
    *,
    init_from: Path | str | None = None,
    backbone_weights: Path | None = None,
    teacher: Path | None = None,
    cache: int = CACHE,
) -> Mapping[str, Any]:
    """Train with values from the space, and return those with the best validation accuracy.

    Each trial is a run in the folder. The study is stored in ``study.db`` there, and resumes from
    it. The test set is not used. The initial weights, the teacher and the cache are as in
    :func:`falconet.training.train.train`.

    Raises:
        ValueError: the recipe holds nothing out, or the test set; or the folder holds another
            search.
    """
    require_one("falconet tune")
    if recipe.validation == 0 or recipe.hold_out == "test":
        raise ValueError(
            f"{recipe.name}: expected images of the training set to be held out, to choose by; "
            "add hold_out=stratified validation=N, such as a tenth of the images"
        )
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # No pool: it would leave connections open, and its gain is negligible next to training.
    database = f"sqlite:///{folder / 'study.db'}"
    study = optuna.create_study(
        storage=optuna.storages.RDBStorage(database, engine_kwargs={"poolclass": NullPool}),
        study_name=recipe.name,
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING),
    )
    # A resumed search must not repeat its first samples.
    study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + len(study.trials))
    searched = {"recipe": recipe.to_json(), "space": [str(item) for item in space]}
    if init_from is not None:
        searched["init_from"] = str(init_from)
    if study.user_attrs and study.user_attrs != searched:
        raise ValueError(
            f"{folder} holds a search of another recipe or space: name another folder with --output"
        )
    for name, value in searched.items():
        study.set_user_attr(name, value)

    def objective(trial: optuna.Trial) -> float:
        chosen = {item.name: item.suggest(trial) for item in space}
        words = [f"{name}={value}" for name, value in chosen.items()]
        console.print(f"trial {trial.number}: {' '.join(words)}", highlight=False)

        def on_epoch(row: Row) -> None:
            trial.report(row["validation_accuracy"], row["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned

        run = folder / f"trial-{trial.number}"
        weights = train(
            recipe.override(words),
            source,
            run,
            init_from=init_from,
            backbone_weights=backbone_weights,
            teacher=teacher,
            cache=cache,
            on_epoch=on_epoch,
        )
        assert weights is not None
        return float(weights.card["validation_accuracy"])

    study.optimize(objective, n_trials=trials)
    with (folder / "trials.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", "validation_accuracy", *(item.name for item in space)])
        for trial in study.trials:
            values = [trial.params.get(item.name) for item in space]
            writer.writerow([trial.number, trial.state.name.lower(), trial.value, *values])
    return {"validation_accuracy": study.best_value, **study.best_params}
