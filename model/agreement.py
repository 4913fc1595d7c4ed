"""How the answers of two handlers compare."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .archive_process import Answer

# Of two probabilities in float32 that were computed in another order.
MOST_MOVED = 1e-5
# Of Pillow, whose numbers are no colors until they are converted.
RAW_MODES = {"1", "P", "PA", "I", "I;16", "F", "HSV", "LAB", "YCbCr"}


@dataclass
class Agreement:
    """Answers of an old and a new handler to the same images.

    Attributes:
        images: that both were asked about.
        answered: by the old one, as they are meant.
        same: of those, how many the new one answered alike: the same labels, but for ties, and
            probabilities within 1e-5.
        difference: the largest of two probabilities of the same label.
        gained: images that only the new one answers, by their kind.
        misread: images whose numbers are no colors, such as a palette's, which the old one takes
            for colors.
        labels: how many images have which first label, or number, in the old one's answers.
        lost: what the new one says where only the old one answers.
        timed: how many both answered.
        old_seconds: that the old one took for those.
        new_seconds: likewise.
    """

    images: int = 0
    answered: int = 0
    same: int = 0
    difference: float = 0.0
    gained: Counter[str] = field(default_factory=Counter)
    misread: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    timed: int = 0
    old_seconds: float = 0.0
    new_seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether whoever was answered is answered alike, and anybody was."""
        return self.same == self.answered > 0

    def add(self, kinds: Sequence[str], old: Sequence[Answer], new: Sequence[Answer]) -> None:
        """Count answers to some images.

        Args:
            kinds: of the images, like ``"PNG RGBA"``.
            old: the answers of the old handler.
            new: likewise.
        """
        for kind, theirs, ours in zip(kinds, old, new, strict=True):
            self.images += 1
            if theirs.status != 200:
                self.gained[kind] += ours.status == 200
                continue
            if ours.status != 200:
                self.answered += 1
                self.lost[_message(ours.content)] += 1
                continue
            moved = difference(theirs.content, ours.content)
            same = moved is not None and moved <= MOST_MOVED
            if not same and kind.split()[-1] in RAW_MODES:
                self.misread[kind] += 1
                continue
            self.answered += 1
            self.same += same
            self.labels[_first(theirs.content)] += 1
            self.difference = max(self.difference, moved or 0.0)
            self.old_seconds += theirs.seconds
            self.new_seconds += ours.seconds
            self.timed += 1

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))  # asdict() would make counters of pairs

    def __str__(self) -> str:
        lines = [
            f"the same answer on {self.same} of {self.answered} images, with {len(self.labels)} "
            f"different labels; probabilities differ by at most {self.difference:.1g}"
        ]
        if len(self.labels) == 1 < self.answered:
            lines.append("one label for all says little: name images of several with --samples")
        lines += [f"only the old one answers {count}: {why}" for why, count in self.lost.items()]
        if self.gained.total():
            lines.append(f"only the new one answers: {_counts(self.gained)}")
        if self.misread:
            lines.append(f"the old one takes for other colors: {_counts(self.misread)}")
        if self.timed:
            old, new = (self.timed / each for each in (self.old_seconds, self.new_seconds))
            lines.append(
                f"requests a second, one after another and without the server: {old:.1f} by the "
                f"old handler, {new:.1f} by the new one"
            )
        return "\n".join(lines)


def difference(old: Any, new: Any) -> float | None:
    """The largest of two probabilities of the same label; ``None`` where the answers differ.

    A label that only one of them lists counts as likely as the last one of the other.
    """
    if not isinstance(old, dict) or not isinstance(new, dict):
        return 0.0 if old == new and type(old) is type(new) else None
    if len(old) != len(new) or not old:
        return None
    moved: list[float] = [abs(old[label] - new[label]) for label in old.keys() & new.keys()]
    moved += [abs(new[label] - min(old.values())) for label in new.keys() - old.keys()]
    moved += [abs(old[label] - min(new.values())) for label in old.keys() - new.keys()]
    # Clients may take the first one for the best.
    for mine, theirs in zip(old.values(), new.values(), strict=True):
        moved.append(abs(mine - theirs))
    return max(moved)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.items() if count)


def _first(content: Any) -> str:
    return str(next(iter(content)) if isinstance(content, dict) else content)


def _message(content: Any) -> str:
    error = content.get("error") if isinstance(content, dict) else None
    return str(error["message"]) if isinstance(error, dict) else str(content)
