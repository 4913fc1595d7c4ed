"""A lock that ends with the process that holds it, whatever ends that."""

import fcntl
import time
from pathlib import Path
from typing import TextIO

POLL_SECONDS = 0.1


def lock(path: Path, timeout: float) -> TextIO | None:
    """Lock a file, which is made if it is not there, until what is returned is closed.

    Args:
        path: of the file.
        timeout: seconds to wait for another process that holds it.

    Returns:
        the file, to read and append; ``None`` where another one still holds it.
    """
    deadline = time.monotonic() + timeout
    file = path.open("a+")
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() >= deadline:
                file.close()
                return None
        except BaseException:
            file.close()
            raise
        time.sleep(POLL_SECONDS)
