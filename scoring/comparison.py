"""How the predictions of two models differ on the same images."""

import heapq
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from .row import Row

SHOWN = 48  # images with the largest changes


class Change(NamedTuple):
    """An image whose probabilities changed.

    Attributes:
        size: the largest change of a class's probability, from 0 to 1.
        part, row: where the image is.
        old, new: its results.
    """

    size: float
    part: int
    row: int
    old: Row
    new: Row


@dataclass
class Comparison:
    """Counts of images that an old and a new model classified.

    Attributes:
        classes: of both models; an image in a folder with such a name is labeled.
        images: all of them.
        predicted: by both models.
        same_label: of those.
        only_old, only_new: images with a prediction of one model alone.
        label_changes: by the old and the new label.
        labeled: of the predicted ones, how many are labeled.
        correct_old, correct_new: of those, how many the model classifies correctly.
        correct_only_old, correct_only_new: likewise, and the other model does not.
        largest: the largest changes, smallest first.
    """

    classes: Collection[str]
    images: int = 0
    predicted: int = 0
    same_label: int = 0
    only_old: int = 0
    only_new: int = 0
    label_changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    labeled: int = 0
    correct_old: int = 0
    correct_new: int = 0
    correct_only_old: int = 0
    correct_only_new: int = 0
    largest: list[Change] = field(default_factory=list)

    @property
    def agreement(self) -> float:
        """The share with the same label, of the images that at least one model predicts."""
        together = self.predicted + self.only_old + self.only_new
        return self.same_label / together if together else 0.0

    def add(self, part: int, old: Sequence[Row], new: Sequence[Row]) -> None:
        """Count the images of a part."""
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            self.images += 1
            if before.key != after.key:
                raise ValueError(
                    f"expected the same images for both models, got {before.key} and {after.key}: "
                    "the input has changed meanwhile"
                )
            if before.label is None or after.label is None:
                self.only_old += before.label is not None
                self.only_new += after.label is not None
                continue
            self.predicted += 1
            self.same_label += before.label == after.label
            if before.label != after.label:
                self.label_changes[before.label, after.label] += 1
            self._count_correct(before, after)
            size = _change(_by_label(before), _by_label(after))
            self._keep(Change(size, part, number, before, after))

    def _count_correct(self, old: Row, new: Row) -> None:
        name = PurePosixPath(old.key.rpartition("#")[2]).parent.name
        if name not in self.classes:
            return
        correct_old, correct_new = old.label == name, new.label == name
        self.labeled += 1
        self.correct_old += correct_old
        self.correct_new += correct_new
        self.correct_only_old += correct_old and not correct_new
        self.correct_only_new += correct_new and not correct_old

    def _keep(self, change: Change) -> None:
        if change.size == 0:
            return
        if len(self.largest) < SHOWN:
            heapq.heappush(self.largest, change)
        else:
            heapq.heappushpop(self.largest, change)

    def to_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            name: value for name, value in vars(self).items() if isinstance(value, int)
        }
        content["agreement"] = self.agreement
        content["label_changes"] = [
            {"old": old, "new": new, "images": count}
            for (old, new), count in self.label_changes.most_common()
        ]
        content["largest_changes"] = [
            {
                "image": each.old.key,
                "change": round(each.size, 6),
                "old": _by_label(each.old),
                "new": _by_label(each.new),
            }
            for each in sorted(self.largest, reverse=True)
        ]
        return content


def _change(old: dict[str, float], new: dict[str, float]) -> float:
    """The largest change of a class's probability that the listed classes show.

    The probability of a class that is not listed is at most that of the last one that is.
    """
    least_old, least_new = min(old.values()), min(new.values())
    both = [abs(old[label] - new[label]) for label in old.keys() & new.keys()]
    gone = [old[label] - least_new for label in old.keys() - new.keys()]
    come = [new[label] - least_old for label in new.keys() - old.keys()]
    return max(0.0, *both, *gone, *come)


def _by_label(row: Row) -> dict[str, float]:
    return dict(zip(row.labels, row.probabilities, strict=True))
