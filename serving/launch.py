"""Starting TorchServe's process."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from falconet.handler import MEASURED, MODELS

from .configuration import Configuration
from .logs import Logs
from .processes import MARK
from .store import FOLDER as STORE


def launch(
    models: Mapping[str, Path], folder: Path, configuration: Configuration, java_home: Path
) -> "tuple[subprocess.Popen[bytes], Path]":
    """Start TorchServe, and return at once.

    Args:
        models: the archive of each model, in the server's store, by the model's name.
        folder: of the server's state.
        configuration: of TorchServe.
        java_home: of the Java that runs it.

    Returns:
        the process that waits for Java, and a new temporary folder for sockets and unpacked
        archives, which also marks the server's processes.
    """
    logs = Logs(folder / "logs").begin()
    config = configuration.write(folder)
    logging = configuration.logging
    # TorchServe puts Unix sockets here, and their paths may be 107 bytes long at most.
    temporary = Path(tempfile.mkdtemp(prefix="falconet-"))
    environment = {
        **os.environ,
        **configuration.environment,
        MODELS: str(len(models)),
        MEASURED: str((folder / "measured.json").resolve()),
        MARK: str(temporary),
        "JAVA_HOME": str(java_home),
        "LOG_LOCATION": str(logs.resolve()),
        "METRICS_LOCATION": str(logs.resolve()),
        "TEMP": str(temporary),
        "TMPDIR": str(temporary),
    }
    environment.pop("TS_CONFIG_FILE", None)  # TorchServe would prefer it to --ts-config
    with (logs / "console.log").open("wb") as console:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "falconet.serving.torchserve"),
                *("--start", "--foreground", "--ncs"),
                *("--ts-config", str(config.resolve())),
                *(("--log-config", str(logging.resolve())) if logging else ()),
                *("--model-store", str((folder / STORE).resolve())),
                *("--models", *(f"{model}={file.name}" for model, file in models.items())),
            ],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is for us: we stop the server in order.
            start_new_session=True,
        )
    return process, temporary
