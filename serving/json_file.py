"""Files with JSON in a state folder, which others read while they are written."""

import json
import os
from pathlib import Path
from typing import Any


def write(path: Path, content: Any) -> None:
    """Replace a file, all or nothing, also where the machine loses power."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w") as file:
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
