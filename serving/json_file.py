"""Files with JSON in a state folder, which others read while they are written."""

import json
from pathlib import Path
from typing import Any


def write(path: Path, content: Any) -> None:
    """Replace a file, all or nothing."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)
