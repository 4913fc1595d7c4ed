"""Tables in Markdown, and what stands in their cells."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def spread(values: Iterable[float], form: str, unit: str = "", ends: str = "") -> str:
    """The median, and the lowest and highest in a form of their own if one is given."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    return f"{median(ordered):{form}}{unit} ({low:{ends or form}} to {high:{ends or form}})"


def counts(found: Mapping[str, int]) -> str:
    """How often there was which kind of error."""
    return ", ".join(f"{kind}: {count}" for kind, count in found.items())
