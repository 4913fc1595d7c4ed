"""Progress bars, on the standard error, where somebody watches."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich import progress
from rich.console import Console

Item = TypeVar("Item")


def track(items: Sequence[Item], doing: str) -> Iterable[Item]:
    """The items, with a bar that goes when they are through."""
    console = Console(stderr=True)
    hidden = not console.is_terminal
    return progress.track(items, doing, console=console, transient=True, disable=hidden)
