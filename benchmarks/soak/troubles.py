"""All troubles at once, for a long time."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import psutil

from falconet.serving.rollout import deploy, rollback

from ..faults.attack import Statuses, Unfair, attack
from ..faults.death import BATCH, REPLACED_SECONDS
from ..faults.figures import count_by_status, is_json_5xx, lost, refused
from ..faults.hostile import Maker
from ..faults.slow import SlowClients
from ..faults.stack import HOSTILE_KEY, KEYS, Stack
from ..load_generator.generator import Generator
from ..load_generator.load import Answer

SLOW, NEVER_READING = 20, 4
SPELL_SECONDS = 30.0  # of load, all of whose answers are then looked at
HOSTILE_AT_A_TIME = 10
HOSTILE_PAUSE_SECONDS = 1.0
# A worker's death is over by then, also for requests that were waiting.
KILL_SECONDS = 30.0


@dataclass
class Trouble:
    """What has been done to a server, and when.

    Attributes:
        kills: when a worker was killed.
        deploys: how many there were, rollbacks included.
        statuses: of hostile requests.
        unfair: those that were not answered as they should be.
        errors: what went wrong with the troubles themselves.
    """

    kills: list[float] = field(default_factory=list)
    deploys: int = 0
    statuses: Statuses = field(default_factory=Counter)
    unfair: list[Unfair] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def soak(
    stack: Stack,
    seconds: float,
    rate: float,
    deploy_every: float,
    kill_every: float,
    done: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """Good requests at a rate, while everything else happens too.

    Args:
        stack: that is asked.
        seconds: in all, and a little more, until what was begun is done.
        rate: of good requests, a second.
        deploy_every: seconds from one deploy, or rollback, to the next.
        kill_every: seconds from one worker's death to the next.
        done: told how many seconds have gone by.
    """
    memory: list[dict[str, int]] = []
    trouble, over = Trouble(), Event()
    bad: list[Answer] = []
    requests = 0
    slow = SlowClients(stack.port, stack.served.target.requests[: len(KEYS)], SLOW, NEVER_READING)
    operations = (
        lambda: _operate(stack, trouble, over, deploy_every, kill_every),
        lambda: _harass(stack, trouble, over),
    )
    began = time.perf_counter()
    with slow, _threads(trouble, operations, over):
        while (passed := time.perf_counter() - began) < seconds:
            spell = min(SPELL_SECONDS, seconds - passed)
            with Generator(stack.served.target, rate, seconds=spell, seed=requests) as generator:
                answers = generator.wait().answers
            requests += len(answers)
            bad += lost(stack.served, answers)  # few, and all that is kept
            with suppress(psutil.NoSuchProcess):  # a worker that a deploy has just ended
                memory.append(stack.memory())
            done(time.perf_counter() - began)
        over.set()
    gone = [answer for answer in bad if not refused(answer)]
    inside = sum(_inside(answer.done, trouble) and is_json_5xx(answer) for answer in gone)
    # A worker loses the hostile requests that it has in hand as well.
    died = [each for each in trouble.unfair if _inside(each.done, trouble) and each.status >= 500]
    inside += len(died)
    more = max(0, inside - BATCH * len(trouble.kills))
    return {
        "seconds": time.perf_counter() - began,
        "requests": requests,
        "kills": len(trouble.kills),
        "deploys": trouble.deploys,
        "hostile": trouble.statuses.total(),
        "unfair": len(trouble.unfair) - len(died),
        "lost": count_by_status(bad),
        "refused": len(bad) - len(gone),
        "lost_in_killed_workers": inside - more,
        "lost_otherwise": len(gone) + len(died) - inside + more,
        "errors": trouble.errors,
        "memory": memory,
    }


def _inside(done: float, trouble: Trouble) -> bool:
    return any(killed <= done <= killed + KILL_SECONDS for killed in trouble.kills)


@contextmanager
def _threads(
    trouble: Trouble, operations: tuple[Callable[[], None], ...], over: Event
) -> Iterator[None]:
    def run(operation: Callable[[], None]) -> None:
        try:
            operation()
        except Exception as error:  # told with the figures
            trouble.errors.append(f"{type(error).__name__}: {error}")

    threads = [Thread(target=run, args=(each,), daemon=True) for each in operations]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _operate(
    stack: Stack, trouble: Trouble, over: Event, deploy_every: float, kill_every: float
) -> None:
    """Deploys, rollbacks and deaths in turn; never two of them at a time."""
    second = stack.release("2.0")
    began = time.perf_counter()
    due = {"deploy": began + deploy_every, "kill": began + kill_every}
    while not over.wait(0.1):
        now = time.perf_counter()
        if now >= due["deploy"]:
            due["deploy"] = now + deploy_every
            if trouble.deploys % 2:
                rollback([stack.server], stack.task.name)
            else:
                deploy([stack.server], second)
            trouble.deploys += 1
        elif now >= due["kill"]:
            due["kill"] = now + kill_every
            worker = stack.workers()[0]
            trouble.kills.append(time.perf_counter())
            worker.kill()
            stack.wait_replaced(worker.pid, REPLACED_SECONDS)


def _harass(stack: Stack, trouble: Trouble, over: Event) -> None:
    requests = iter(Maker(HOSTILE_KEY))
    while not over.wait(HOSTILE_PAUSE_SECONDS):
        statuses, unfair = attack(stack.port, requests, HOSTILE_AT_A_TIME, clients=2)
        trouble.statuses += statuses
        trouble.unfair += unfair
