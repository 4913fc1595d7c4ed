"""``python -m falconet.serving.torchserve``: TorchServe's own command, with our workers' start."""

import sys
from pathlib import Path

from ts.model_server import start


def main() -> None:
    """Like ``python -m ts.model_server``."""
    worker = Path(sys.executable).with_name("falconet-worker")
    if worker.exists():  # not where the package was put on PYTHONPATH only
        sys.executable = str(worker)  # what TorchServe starts its workers with
    start()


if __name__ == "__main__":
    main()
