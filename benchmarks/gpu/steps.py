"""Steps that run while time is left, and whose outcomes are written immediately."""

import json
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from threading import Event, Lock
from typing import Any, Literal, NamedTuple

from falconet.model import storage

State = Literal["passed", "failed", "error", "stopped", "not started", "skipped", "done before"]
FAILED: tuple[State, ...] = ("failed", "error")
FOLDER = "steps"

Figures = dict[str, Any]


class Findings(NamedTuple):
    """Result of a step: one line for people, and figures, which go into JSON."""

    summary: str
    figures: Figures


class CheckError(Exception):
    """A result is not the expected one.

    Args:
        message: what was expected, and what came.
        figures: that show it.
    """

    def __init__(self, message: str, figures: Figures) -> None:
        super().__init__(message)
        self.figures = figures


class SkippedError(Exception):
    """Something that the step needs is missing; the message says what."""


class StoppedError(Exception):
    """The time was over, or the command was stopped."""


@dataclass(frozen=True)
class Step:
    """One unit of work.

    Attributes:
        name: file name of the result, without suffix.
        part: name of the part that the step belongs to.
        seconds: expected duration.
        run: does the work. Its argument is the seconds left to the part, after which it has to
            end. Raises :class:`CheckError`, :class:`SkippedError` or :class:`StoppedError`.
        always_run: whether to run it again where it passed in an earlier call.
        minimum: seconds that must be left to start a step that the next call can continue.
            ``None`` for a step that cannot be continued: it starts only if it is expected to end
            in time.
    """

    name: str
    part: str
    seconds: float
    run: Callable[[float], Findings]
    always_run: bool = False
    minimum: float | None = None


@dataclass(frozen=True)
class Outcome:
    """Result of a step.

    Attributes:
        name, part: of the step.
        state: ``"passed"``; ``"failed"``, by a check; ``"error"``; ``"stopped"``; ``"not
            started"``, for lack of time; ``"skipped"``, as something is missing; or ``"done
            before"``, in an earlier call.
        expected: duration in seconds.
        seconds: measured duration in seconds.
        message: the result in one line, or why there is none.
        figures: of the step.
    """

    name: str
    part: str
    state: State
    expected: float
    seconds: float = 0.0
    message: str = ""
    figures: Figures = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=1) + "\n"
        storage.write(folder / FOLDER / f"{self.name}.json", text.encode())


def load(folder: Path, name: str) -> Outcome | None:
    """The outcome of an earlier call; ``None`` if there is none that can be read."""
    try:
        return Outcome(**json.loads((folder / FOLDER / f"{name}.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@dataclass(frozen=True)
class Limit:
    """The time limit of the steps.

    Attributes:
        began: monotonic time in seconds.
        seconds: for all steps.
        ends: the fraction of the seconds at which each part ends.
        interrupted: is set to stop at once.
        clock: monotonic time in seconds.
    """

    began: float
    seconds: float
    ends: Mapping[str, float]
    interrupted: Event = field(default_factory=Event)
    clock: Callable[[], float] = time.monotonic

    def seconds_left(self, part: str) -> float:
        if self.interrupted.is_set():
            return 0.0
        return max(0.0, self.began + self.ends[part] * self.seconds - self.clock())


def run(
    steps: Iterable[Step],
    limit: Limit,
    folder: Path,
    at_once: Mapping[str, int] | None = None,
    report: Callable[[list[Outcome]], None] = lambda outcomes: None,
) -> list[Outcome]:
    """Run the steps in order, each only if its part has enough time left.

    Args:
        steps: grouped by part. Steps that run one at a time are taken from the iterable one by
            one, so that their estimates can use earlier steps.
        limit: the time limit.
        folder: for the outcomes.
        at_once: number of concurrent steps of a part; 1 if it is not named.
        report: called with all outcomes after each step, the new one last.

    Returns:
        The outcomes in the order in which the steps ended.
    """
    outcomes: list[Outcome] = []
    lock = Lock()

    def one(step: Step) -> None:
        before = None if step.always_run else load(folder, step.name)
        if before is not None and before.state == "passed":
            outcome = replace(before, state="done before")
        else:
            outcome = _outcome(step, limit)
            if outcome.state != "not started":
                outcome.save(folder)
        with lock:
            outcomes.append(outcome)
            try:
                report(outcomes)
            except Exception:  # the outcome is saved; a failed report must not stop other steps
                traceback.print_exc()

    for part, group in groupby(steps, key=lambda step: step.part):
        count = (at_once or {}).get(part, 1)
        if count == 1:
            for step in group:
                one(step)
            continue
        with ThreadPoolExecutor(count) as threads:
            for future in [threads.submit(one, step) for step in group]:
                future.result()
    return outcomes


def _outcome(step: Step, limit: Limit) -> Outcome:
    left = limit.seconds_left(step.part)
    needed = step.seconds if step.minimum is None else min(step.minimum, step.seconds)
    outcome = Outcome(step.name, step.part, "not started", step.seconds)
    if needed > left or limit.interrupted.is_set():
        return replace(outcome, message=f"needs {needed:.0f} s, {left:.0f} s are left")
    state: State = "passed"
    figures: Figures = {}
    began = limit.clock()
    try:
        message, figures = step.run(left)
    except CheckError as error:
        state, message, figures = "failed", str(error), error.figures
    except SkippedError as error:
        state, message = "skipped", str(error)
    except StoppedError as error:
        goes_on = "starts it again" if step.minimum is None else "continues it"
        state, message = "stopped", f"{error}; the next call {goes_on}"
    except Exception as error:  # an unexpected one must not stop other steps
        state, message = "error", f"{type(error).__name__}: {error}"
        figures = {"traceback": traceback.format_exc()}
    took = round(limit.clock() - began, 1)
    return replace(outcome, state=state, seconds=took, message=message, figures=figures)


def status(outcomes: Iterable[Outcome]) -> int:
    """Exit status: 1 if a check or another step failed."""
    return int(any(outcome.state in FAILED for outcome in outcomes))
