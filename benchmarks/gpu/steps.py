"""Steps that run while there is time, and whose results are written as soon as they are there."""

import json
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from falconet.model import storage

State = Literal["passed", "failed", "error", "stopped", "no time", "not here", "kept"]
BAD: tuple[State, ...] = ("failed", "error")
FOLDER = "steps"

Found = dict[str, Any]


class CheckError(Exception):
    """A result is not the expected one.

    Args:
        message: what was expected, and what came.
        found: the figures that show it.
    """

    def __init__(self, message: str, found: Found) -> None:
        super().__init__(message)
        self.found = found


class MissingError(Exception):
    """What the step needs is not here; the message says what that is."""


class StoppedError(Exception):
    """The time was over. What was begun goes on when the step is run again."""


@dataclass(frozen=True)
class Step:
    """Something to do.

    Attributes:
        name: of its file.
        part: of the whole, which has a share of the time.
        seconds: that it is expected to take.
        run: is given the seconds until the end of its part, and returns what it found, which goes
            into JSON; raises :class:`CheckError`, :class:`MissingError` or :class:`StoppedError`.
        repeated: whether it is run again where it passed before, on the same device.
    """

    name: str
    part: str
    seconds: float
    run: Callable[[float], Found]
    repeated: bool = True


@dataclass(frozen=True)
class Outcome:
    """What became of a step.

    Attributes:
        name, part: of the step.
        state: ``"passed"``; ``"failed"``, by a check; ``"error"``; ``"stopped"``, to go on in
            another call; ``"no time"`` to begin; ``"not here"``, for want of something; or
            ``"kept"`` from an earlier call.
        expected: seconds.
        seconds: that it took.
        device: of torch.
        message: why it did not pass.
        found: by the step.
    """

    name: str
    part: str
    state: State
    expected: float
    seconds: float
    device: str
    message: str = ""
    found: Found = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        path = folder / FOLDER
        path.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1) + "\n"
        storage.write(path / f"{self.name}.json", text.encode())


def load(folder: Path, name: str) -> Outcome | None:
    """What an earlier call left of a step; ``None`` if nothing."""
    path = folder / FOLDER / f"{name}.json"
    return Outcome(**json.loads(path.read_text())) if path.exists() else None


def run(
    steps: Sequence[Step],
    seconds: float,
    shares: dict[str, float],
    folder: Path,
    device: str,
    at_once: dict[str, int] | None = None,
    said: Callable[[Outcome], None] = lambda outcome: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Outcome]:
    """Run the steps in order, each if it is expected to end before its part has to.

    Args:
        steps: those of a part follow each other.
        seconds: for all.
        shares: of the seconds, at which each part has to end.
        folder: of the results.
        device: that they are of.
        at_once: how many steps of a part run at the same time; 1 if it is not named.
        said: is given each outcome, after it is written.
        clock: seconds since whenever.
    """
    began = clock()

    def one(step: Step) -> Outcome:
        before = None if step.repeated else load(folder, step.name)
        if before is not None and before.state == "passed" and before.device == device:
            outcome = Outcome(**{**asdict(before), "state": "kept"})
        else:
            left = shares[step.part] * seconds - (clock() - began)
            outcome = _outcome(step, left, device, clock)
            if outcome.state != "no time":
                outcome.save(folder)
        said(outcome)
        return outcome

    outcomes: list[Outcome] = []
    for part, group in groupby(steps, key=lambda step: step.part):
        with ThreadPoolExecutor((at_once or {}).get(part, 1)) as threads:
            outcomes += threads.map(one, group)
    return outcomes


def _outcome(step: Step, left: float, device: str, clock: Callable[[], float]) -> Outcome:
    state: State = "passed"
    message, found = "", Found()
    began = clock()
    if step.seconds > left:
        state, message = "no time", f"expected {step.seconds:.0f} s, {max(0, left):.0f} are left"
    else:
        try:
            found = step.run(left)
        except CheckError as error:
            state, message, found = "failed", str(error), error.found
        except MissingError as error:
            state, message = "not here", str(error)
        except StoppedError as error:
            state, message = "stopped", str(error)
        except Exception as error:  # one that nobody expects stops no other step
            state, message = "error", f"{type(error).__name__}: {error}"
            found = {"traceback": traceback.format_exc()}
    took = round(clock() - began, 1)
    return Outcome(step.name, step.part, state, step.seconds, took, device, message, found)


def status(outcomes: Iterable[Outcome]) -> int:
    """Of the process: 1 if a step failed."""
    return int(any(outcome.state in BAD for outcome in outcomes))
