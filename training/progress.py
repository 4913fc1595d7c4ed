"""Progress bars, on the standard error, where somebody watches."""

from collections.abc import Iterable
from typing import TypeVar

from rich import progress
from rich.console import Console

Item = TypeVar("Item")

console = Console(stderr=True)


def track(items: Iterable[Item], doing: str, total: int | None = None) -> Iterable[Item]:
    """The items, with a bar that goes when they are through; ``total`` of what has no length."""
    hidden = not console.is_terminal
    return progress.track(items, doing, total, console=console, transient=True, disable=hidden)


def bar(doing: str, total: int, completed: int, shown: bool = True) -> progress.Progress:
    """A bar with one task, to be advanced; elsewhere than on a terminal only what is printed."""
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
