"""What is made of many answers."""

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..load_generator.load import Answer
from ..rounds import check, wrong
from ..system import System


def lost(system: System, answers: Sequence[Answer]) -> list[Answer]:
    """Those that are not right."""
    return [answer for answer in answers if wrong(system, answer)]


def refused(answer: Answer) -> bool:
    """Whether there was too much to do, and an answer says when to come again."""
    return answer.status == 429 and bool(answer.retry_after)


def is_json_5xx(answer: Answer) -> bool:
    """Whether a failed request got a status 5xx with JSON, rather than a closed connection."""
    try:
        message = json.loads(answer.body)
    except ValueError:
        return False
    return answer.status >= 500 and isinstance(message, dict) and bool(message)


def count_by_status(answers: Sequence[Answer]) -> dict[str, int]:
    """The number of answers by status, or by error if there was no status."""
    return dict(
        Counter(str(answer.status or answer.body.decode()) for answer in answers).most_common()
    )


def by_window(
    system: System, answers: Sequence[Answer], start: float, window: float
) -> dict[str, list[float]]:
    """Right and other answers a second, by when they came, in seconds after the start."""
    good, _ = check(system, answers)
    ends = np.array([answer.done - start for answer in answers])
    edges = np.arange(np.floor(ends.min()), np.ceil(ends.max()) + window, window)
    every, _ = np.histogram(ends, edges)
    right, _ = np.histogram([answer.done - start for answer in good], edges)
    return {
        "at": ((edges[:-1] + edges[1:]) / 2).tolist(),
        "good": (right / window).tolist(),
        "other": ((every - right) / window).tolist(),
    }


def calm_after(
    system: System, answers: Sequence[Answer], begun: float, ended: float, window: float
) -> float:
    """Seconds from the end of a disturbance until all is as before it.

    That is, until the first window that is as long as ``window``, all of whose answers are right,
    and half of them no later than twice the median before; infinite if there is none.
    """
    before = [answer.latency for answer in answers if answer.done < begun]
    most = 2 * float(np.median(before))
    after = [answer for answer in answers if answer.intended >= ended]
    wrong = {id(answer) for answer in lost(system, after)}
    last = max(answer.intended for answer in after)
    for start in np.arange(ended, last - window, window / 4):
        some = [answer for answer in after if start <= answer.intended < start + window]
        right = some and not any(id(answer) in wrong for answer in some)
        if right and float(np.median([answer.latency for answer in some])) <= most:
            return float(start - ended)
    return float("inf")
