"""What TorchServe starts in place of ``python``, so that a worker's start is in nobody's way.

It imports torch, most of that start, at low priority: the workers of a new version take seconds of
all cores otherwise, while the old ones serve. The rest is done by :mod:`.loading`.
"""

import os
import runpy
import sys
from importlib import import_module
from pathlib import Path

from .priority import at_low_priority

WORKER = "model_service_worker.py"


def main() -> None:
    """``falconet-worker``, with what Python would be given."""
    arguments = sys.argv[1:]
    if not arguments or Path(arguments[0]).name != WORKER:
        os.execv(sys.executable, [sys.executable, *arguments])
    at_low_priority(lambda: import_module("ts.model_service_worker"))
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
