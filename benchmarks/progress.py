"""What is being done, on a terminal."""

from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn


def progress() -> Progress:
    """Bars that say how much of it is done, and since when."""
    columns = Progress.get_default_columns()[:-1]
    return Progress(*columns, MofNCompleteColumn(), TimeElapsedColumn())
