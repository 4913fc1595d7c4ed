"""Processes of a server that end at once, as if they had crashed."""

import time
from typing import Any

from ..load_generator.generator import Generator
from ..rounds import check
from .figures import by_window, count_by_status, is_json_5xx, lost, refused
from .stack import Stack

PAUSE_SECONDS = 4.0  # before and after
REPLACED_SECONDS = 120.0
BATCH = 16  # of the archive: what a worker has in hand, at most
WINDOW = 0.5  # seconds


def kill_workers(
    stack: Stack, rate: float, times: int, pause: float = PAUSE_SECONDS
) -> dict[str, Any]:
    """One worker after the other, under load.

    Requests are lost to a kill if they come to nothing before the next, and are not refused, as
    they may be while a worker is missing. All is back when every worker is ready and nothing is
    lost or refused any more.
    """
    kills: list[tuple[float, float]] = []
    with Generator(stack.served.target, rate) as generator:
        time.sleep(pause)
        for _ in range(times):
            worker = stack.workers()[0]
            killed = time.perf_counter()
            worker.kill()
            kills.append((killed, stack.wait_replaced(worker.pid, REPLACED_SECONDS)))
            time.sleep(pause)
        answers = generator.stop().answers
    bad = lost(stack.served, answers)
    gone = [answer for answer in bad if not refused(answer)]
    found = []
    ends = [*(at for at, _ in kills[1:]), float("inf")]
    for (killed, ready), until in zip(kills, ends, strict=True):
        last = max((a.done - killed for a in bad if killed <= a.done < until), default=0.0)
        number = sum(killed <= answer.done < until for answer in gone)
        found.append({"lost": number, "ready": ready, "back": max(ready, last)})
    return {
        "rate": rate,
        "requests": len(answers),
        "kills": found,
        "lost": count_by_status(bad),
        "lost_before": sum(answer.done < kills[0][0] for answer in gone),
        "unclear": sum(not is_json_5xx(answer) for answer in gone),
        "seen": by_window(stack.served, answers, kills[0][0], WINDOW),
    }


def kill_java(stack: Stack, rate: float, pause: float = PAUSE_SECONDS) -> dict[str, Any]:
    """All of the server but what is in front of it; then it is started again."""
    serving = stack.server.client.describe(stack.task.name)["modelVersion"]
    with Generator(stack.served.target, rate) as generator:
        time.sleep(pause)
        left = {process.pid for process in stack.workers()}
        killed = time.perf_counter()
        stack.java().kill()
        while stack.server.running():  # what a supervisor waits for
            time.sleep(0.01)
        started = time.perf_counter()
        stack.restart()
        stack.server.wait_loaded(REPLACED_SECONDS)
        ready = time.perf_counter()
        time.sleep(pause)
        answers = generator.stop().answers
    good, _ = check(stack.served, answers)
    bad = lost(stack.served, answers)
    again = stack.server.client.describe(stack.task.name)["modelVersion"]
    return {
        "rate": rate,
        "requests": len(answers),
        "lost": count_by_status(bad),
        "unclear": sum(not is_json_5xx(answer) and not refused(answer) for answer in bad),
        "lost_before": sum(answer.done < killed and not refused(answer) for answer in bad),
        "first": min(answer.done for answer in good if answer.sent > started) - killed,
        "ready": ready - killed,
        "back": max((answer.done for answer in bad), default=killed) - killed,
        "served": [serving, again],
        "orphans": len(left & {process.pid for process in stack.workers()}),
        "seen": by_window(stack.served, answers, killed, WINDOW),
    }
