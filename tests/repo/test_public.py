"""What is public stays: names may be added, and none removed without a new major version."""

import json
from pathlib import Path
from typing import Any

from tests.repo.public import FILE, found


def missing(before: Any, now: Any, where: str = "") -> list[str]:
    """What was there before and is not now."""
    if isinstance(before, dict):
        lost = [f"{where}/{name}" for name in before.keys() - now.keys()]
        for name in before.keys() & now.keys():
            lost += missing(before[name], now[name], f"{where}/{name}")
        return lost
    return [f"{where}/{name}" for name in before if name not in now]


def test_nothing_public_is_gone() -> None:
    assert missing(json.loads(FILE.read_text()), found()) == []


def test_what_is_gone_is_named() -> None:
    before = {"a": {"b": ["--x", "--y"], "c": []}}
    assert missing(before, {"a": {"b": ["--y"]}}) == ["/a/c", "/a/b/--x"]


def test_the_page_names_what_is_public(repository: Path) -> None:
    page = (repository / "docs" / "stability.md").read_text()
    for name in ("falconet.native", "falconet.client", "spec.json", "/predictions/"):
        assert name in page
