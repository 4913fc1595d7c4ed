"""Learning rate schedules: a multiple of the optimizer's rate for each step."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Triangle:
    """Linear warm-up from a fifth of the rate, then linear decay.

    Attributes:
        warm_up: share of the run in which the rate rises.
        final_rate: what it falls to.
    """

    warm_up: float = 0.2
    final_rate: float = 0.01

    def multiple(self, step: int, batches: int, epochs: int) -> float:
        progress = step / (batches * epochs)
        if progress < self.warm_up:
            return 0.2 + 0.8 * progress / self.warm_up
        return 1 - (1 - self.final_rate) * (progress - self.warm_up) / (1 - self.warm_up)


@dataclass(frozen=True)
class Steps:
    """Piecewise constant, multiplied by a decay as in the old Keras optimizers.

    Attributes:
        drops: numbers of epochs after which the rate changes.
        multiples: the rate after each of them.
        decay: the rate is divided by ``1 + decay * step``.
    """

    drops: tuple[int, ...] = ()
    multiples: tuple[float, ...] = ()
    decay: float = 0.0

    def __post_init__(self) -> None:
        if len(self.drops) != len(self.multiples) or list(self.drops) != sorted(self.drops):
            raise ValueError(
                "schedule: expected drops in ascending order and a multiple for each, got "
                f"{self.drops} and {self.multiples}"
            )

    def multiple(self, step: int, batches: int, epochs: int) -> float:
        past = sum(step // batches >= drop for drop in self.drops)
        return (1.0, *self.multiples)[past] / (1 + self.decay * step)


@dataclass(frozen=True)
class CosineRestarts:
    """Cosine annealing with warm restarts (SGDR, arXiv:1608.03983).

    Attributes:
        first_cycle: length of the first cycle, in epochs.
        growth: how many times as long the next one is.
    """

    first_cycle: int = 10
    growth: int = 2

    def __post_init__(self) -> None:
        if self.first_cycle < 1 or self.growth < 1:
            raise ValueError(
                "schedule: expected first_cycle and growth from 1, got "
                f"{self.first_cycle} and {self.growth}"
            )

    def cycle_ends(self, epochs: int) -> list[int]:
        """The numbers of epochs after which a cycle ends, up to ``epochs``."""
        ends, length = [self.first_cycle], self.first_cycle
        while ends[-1] < epochs:
            length *= self.growth
            ends.append(ends[-1] + length)
        return [end for end in ends if end <= epochs]

    def multiple(self, step: int, batches: int, epochs: int) -> float:
        position, length = step / batches, self.first_cycle
        while position >= length:
            position -= length
            length *= self.growth
        return 0.5 + 0.5 * math.cos(math.pi * position / length)


Schedule = Triangle | Steps | CosineRestarts
