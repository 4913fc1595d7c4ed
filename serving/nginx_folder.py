"""The folder of a gateway's nginx, which another process may look for."""

import tempfile
from pathlib import Path

import psutil

# In the gateway's folder; names nginx's folder, which has the prefix.
FILE_NAME, PREFIX = "runtime", "falconet-gateway-"
PID = "nginx.pid"


def make(gateway: Path) -> Path:
    """A new folder below /tmp, into which nginx's worker processes can look."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o711)
    try:
        (gateway / FILE_NAME).write_text(str(folder))
    except OSError:
        folder.rmdir()
        raise
    return folder


def find(gateway: Path) -> Path | None:
    """The folder of the nginx that was started last; ``None`` if there is none."""
    try:
        folder = Path((gateway / FILE_NAME).read_text())
    except OSError:
        return None
    return folder if folder.name.startswith(PREFIX) else None


def running(folder: Path) -> bool:
    """Whether the nginx of this folder runs."""
    try:
        return psutil.pid_exists(int((folder / PID).read_text()))
    except (OSError, ValueError):  # it has removed the file, or not written it yet
        return False
