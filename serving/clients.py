"""Who may ask a gateway, by the API keys of a file."""

import re
from pathlib import Path

from .errors import ServerError

ALLOWED = re.compile(r"[A-Za-z0-9_.~+/=-]+")
# A key is a file's name for nginx, with commas for slashes; it can replace so many of them.
LONGEST, SLASHES = 200, 8


def read_clients(keys: Path) -> dict[str, str]:
    """The name of each client, by its key.

    Args:
        keys: a file with a line ``KEY NAME`` for each.

    Raises:
        OSError: it cannot be read.
        ServerError: it is not as it should be, or there is no line.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(keys.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 2 or not all(ALLOWED.fullmatch(each) for each in words):
            raise ServerError(
                f"{keys}:{number}: expected a key and a name, of letters, digits and ._~+/=-"
            )
        key, name = words
        if len(key) > LONGEST or key.count("/") > SLASHES:
            raise ServerError(
                f"{keys}:{number}: expected a key of at most {LONGEST} characters and {SLASHES} "
                "slashes"
            )
        if {"", ".", ".."} & {*name.split("/")} or len(name) > LONGEST:
            raise ServerError(
                f"{keys}:{number}: expected a name like alice or team/alice, of at most {LONGEST} "
                "characters"
            )
        found[key] = name
    if not found:
        raise ServerError(f"{keys}: expected a line KEY NAME for each client; there is none")
    return found


def file_name(key: str) -> str:
    """As the map ``$key_file`` of nginx.conf has it."""
    return f"k{key.replace('/', ',')}"


def file_names() -> str:
    """Lines of that map: a pattern for each number of slashes."""
    part = "([A-Za-z0-9_.~+=-]*)"
    lines = []
    for slashes in range(SLASHES + 1):
        parts = [f"${i + 1}" for i in range(slashes + 1)]
        lines.append(f'"~^{"/".join([part] * (slashes + 1))}$" "k{",".join(parts)}";')
    return "\n    ".join(lines)
