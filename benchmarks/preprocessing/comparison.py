"""Tables of contenders."""

from typing import Any

from ..table import table

Jobs = list[dict[str, Any]]


def comparison(jobs: Jobs, first: str = "", columns: list[str] | None = None) -> str:
    """A row for each contender, a column for each job, and how far the bytes are from Pillow's."""
    names = list(dict.fromkeys(row["name"] for job in jobs for row in job["contenders"]))
    head = [first, *(columns or [size(job) for job in jobs]), "bytes that differ from Pillow's"]
    rows = []
    for name in names:
        found = [_find(job, name) for job in jobs]
        cells = [_time(contender, name == names[0]) for contender in found]
        rows.append([_label(found), *cells, unlike(found)])
    return table(head, rows)


def size(job: dict[str, Any]) -> str:
    width, height = job["size"]
    each = f"{width}x{height}"
    return f"{job['images']} of {each}" if job["images"] > 1 else each


def number(value: float) -> str:
    """Three digits that count, no exponent."""
    return f"{value:.0f}" if value >= 1000 else f"{value:#.3g}".rstrip(".")


def ratio(spread: dict[str, float]) -> str:
    """The median and the quartiles."""
    low, high = number(spread["low"]), number(spread["high"])
    return f"{number(spread['median'])}x ({low} to {high})"


def percent(share: float) -> str:
    if 0 < share < 0.001:
        return "under 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def unlike(found: list[dict[str, Any] | None]) -> str:
    """Of the job where it is worst."""
    each = [row["unlike_pillow"] for row in found if row]
    share, largest = (max(one[key] for one in each) for key in ("share_of_bytes", "largest"))
    return f"{percent(share)}, by {largest} at most" if largest else "none"


def _find(job: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((row for row in job["contenders"] if row["name"] == name), None)


def _label(found: list[dict[str, Any] | None]) -> str:
    rows = [row for row in found if row]
    notes = list(dict.fromkeys(row["note"] for row in rows if "note" in row))
    name = rows[0]["name"]
    name = f"**{name}**" if rows[0]["ours"] else name
    return f"{name} ({', '.join(notes)})" if notes else name


def _time(contender: dict[str, Any] | None, first: bool) -> str:
    if contender is None:
        return ""
    time = contender["milliseconds"]
    median, low, high = (number(time[key]) for key in ("median", "low", "high"))
    if first:
        return f"**{median} ms**<br>{low} to {high}"
    return f"{median} ms<br>{ratio(contender['ratio'])}"
