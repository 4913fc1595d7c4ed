"""Work at low priority."""

import os
import subprocess
import sys
import threading

from falconet.handler.priority import NICE, at_low_priority

LOWER = NICE + 5


def nice_of_this_thread() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_it_lowers_nobody_elses_priority() -> None:
    before = nice_of_this_thread()
    assert at_low_priority(nice_of_this_thread) == max(NICE, before)
    assert nice_of_this_thread() == before


def test_a_lower_priority_is_kept() -> None:
    """Only root may raise it: a worker of a server that was started so would not come up."""
    code = (
        "import os\n"
        f"os.nice({LOWER} - os.nice(0))\n"
        "from falconet.handler.priority import at_low_priority\n"
        "from tests.handler.test_priority import nice_of_this_thread\n"
        "print(at_low_priority(nice_of_this_thread))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(LOWER)
