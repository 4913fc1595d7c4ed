"""Files with JSON in a state folder, which others read while they are written."""

import json
import os
from pathlib import Path
from typing import Any


def write(path: Path, content: Any) -> None:
    """Replace a file, all or nothing, also where the machine loses power.

    Raises:
        OSError: it cannot be written, on a full disk for example; names the file.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w") as file:
            file.write(json.dumps(content, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
