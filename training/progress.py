"""Progress bars on standard error, if it is a terminal."""

from collections.abc import Iterable
from typing import TypeVar

from rich import progress
from rich.console import Console

Item = TypeVar("Item")

console = Console(stderr=True)


def track(items: Iterable[Item], doing: str, total: int | None = None) -> Iterable[Item]:
    """Iterate with a bar that disappears at the end; ``total`` is for items without a length."""
    hidden = not console.is_terminal
    return progress.track(items, doing, total, console=console, transient=True, disable=hidden)


def bar(doing: str, total: int, completed: int, shown: bool = True) -> progress.Progress:
    """A bar with one task to advance. Without a terminal, only printed lines appear."""
    made = progress.Progress(
        progress.TextColumn(doing),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        disable=not (shown and console.is_terminal),
    )
    made.add_task(doing, total=total, completed=completed)
    return made
