"""Work that should be in nobody's way."""

import os
import threading
from collections.abc import Callable
from typing import TypeVar

# Enough that those who answer go first; not so much that a worker which is to replace a dead one
# would not come up on a machine with no time to spare.
NICE = 10

Result = TypeVar("Result")


def at_low_priority(work: Callable[[], Result]) -> Result:
    """What ``work`` returns, or raises, from a thread that lets others go first.

    A thread of its own, as one that has lowered its priority may not raise it again. Threads that
    it starts have its priority.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            thread = threading.get_native_id()  # whose priority is its own, on Linux
            nice = max(NICE, os.getpriority(os.PRIO_PROCESS, thread))
            os.setpriority(os.PRIO_PROCESS, thread, nice)
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="at low priority")
    thread.start()
    thread.join()
    for error in errors:
        raise error
    return results[0]
