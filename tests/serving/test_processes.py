"""What is done to processes of a server."""

import os
import subprocess
import sys
from pathlib import Path

from falconet.serving.processes import LOWEST, yield_to_others

THREADS = """
import sys, threading
threading.Thread(target=sys.stdin.read).start()
print("started", flush=True)
"""


def test_all_threads_of_what_ends_let_others_go_first() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield_to_others(child.pid)
        threads = [int(each.name) for each in Path(f"/proc/{child.pid}/task").iterdir()]
        assert len(threads) == 2
        assert [os.getpriority(os.PRIO_PROCESS, each) for each in threads] == 2 * [LOWEST]
    yield_to_others(child.pid)  # which is gone
    yield_to_others(-1)  # as TorchServe says of a worker that has not come yet
    assert os.getpriority(os.PRIO_PROCESS, 0) < LOWEST
