"""The page, and the table for README.md."""

from statistics import median

from . import targets
from .figures import Result, best_of, best_other, p50_alone, rounds_of, systems_of
from .round import BUSY


def page(result: Result) -> str:
    """All tables, for docs/serving.md."""
    parts = [f"## What was aimed at\n\n{targets.table(result)}\n"]
    for task in result["tasks"]:
        parts.append(f"## {task['title']}\n\n{_about(task)}\n")
        if task["peers"]:
            parts.append(f"![Throughput and latency](serve-{task['name']}.svg)\n")
        parts.append(f"### Closed loop\n\n{closed(task)}\n")
        parts.append(f"### Latency with one connection\n\n{alone(task)}\n")
        if task["open"]:
            parts.append(f"### Open loop\n\n{opened(task)}\n")
        if task["peers"]:
            parts.append(f"### Other servers\n\n{others(task)}\n")
    parts.append(f"## Measured on\n\n{machine(result)}\n")
    return "\n".join(parts)


def summary(result: Result) -> str:
    """The most important ratios, for README.md."""
    lines = [
        _row(["", "Falconet", "stock handler", "best other server"]),
        _row(["---"] * 4),
    ]
    for task in result["tasks"]:
        ours, _, stock = systems_of(task)[:3]
        own, its = best_of(task, ours), best_of(task, stock)
        best, ratio = best_other(task)
        lines.append(
            _row(
                [
                    f"{task['title']}: requests/s",
                    f"**{own:.0f}**",
                    f"{its:.0f} (ours {own / its:.1f}x)",
                    f"{best} (ours {ratio:.1f}x)",
                ]
            )
        )
        p50, p50_stock = (1e3 * p50_alone(task, name) for name in (ours, stock))
        lines.append(
            _row(
                [
                    "one connection, p50",
                    f"**{p50:.1f} ms**",
                    f"{p50_stock:.1f} ms (ours {p50 / p50_stock:.2f}x)",
                    "",
                ]
            )
        )
    return "\n".join(
        [
            *lines,
            "",
            "The load generator has its part of the same cores; every answer is checked. By "
            f"`benchmarks/serve.py` on {result['machine']}.",
            "",
        ]
    )


def closed(task: Result) -> str:
    """Requests a second, by connections; the highest of each system as a ratio to ours."""
    counts = sorted({each["connections"] for each in task["closed"]})
    lines = [
        _row(["requests/s, by connections", *map(str, counts), "highest, ours by theirs"]),
        _row(["---"] * (len(counts) + 2)),
    ]
    systems = systems_of(task)
    for name in systems:
        cells = [_spread(rounds_of(task, name, count), "throughput", "{:.0f}") for count in counts]
        own, theirs = best_of(task, systems[0]), best_of(task, name)
        ratio = f"{own / theirs:.2f}x" if name != systems[0] else ""
        lines.append(_row([name, *cells, ratio]))
    errors = _errors(task["closed"])
    return "\n".join([*lines, "", errors])


def alone(task: Result) -> str:
    """Milliseconds with a single connection."""
    lines = [_row(["one connection", "p50", "p99", "p50, ours by theirs"]), _row(["---"] * 4)]
    systems = systems_of(task)
    least = min(each["connections"] for each in task["closed"])
    own = p50_alone(task, systems[0])
    for name in systems:
        rounds = rounds_of(task, name, least)
        ratio = f"{own / p50_alone(task, name):.2f}x" if name != systems[0] else ""
        cells = [_spread(rounds, q, "{:.2f} ms", 1e3) for q in ("p50", "p99")]
        lines.append(_row([name, *cells, ratio]))
    return "\n".join(lines)


def opened(task: Result) -> str:
    """Latency at fixed rates, from when a request was due."""
    names = ("p50", "p90", "p99", "p99.9")
    lines = [
        _row(
            ["system", "of its highest", "requests/s", *names, "sent late, p99", "server's cores"]
        ),
        _row(["---"] * (len(names) + 5)),
    ]
    for each in task["open"]:
        share = f"{each['share']:.0%}" if each["share"] else "70 % of ours"
        # Latency counts that lateness; where the generator has no time left it is all there is.
        limited = any(one["generator_cores"] > BUSY for one in each["rounds"])
        cells = [_spread(each["rounds"], q, "{:.1f} ms", 1e3) for q in names]
        cells.append(f"{1e3 * median(one['late'] for one in each['rounds']):.1f} ms")
        cells.append(_spread(each["rounds"], "server_cores", "{:.2f}"))
        name = each["system"] + (" (limited by the generator)" if limited else "")
        lines.append(_row([name, share, f"{each['rate']:.0f}", *cells]))
    late = "Sent late, at the 99th percentile; latency counts that as well."
    return "\n".join([*lines, "", f"{late} {_errors(task['open'])}"])


def others(task: Result) -> str:
    """Each other server beside ours, in the same rounds."""
    counts = sorted({each["connections"] for each in task["peers"][0]})
    lines = [
        _row(["requests/s, by connections", *map(str, counts), "highest, ours by theirs"]),
        _row(["---"] * (len(counts) + 2)),
    ]
    for found in task["peers"]:
        pair = {"closed": found}
        ours, theirs = systems_of(pair)
        for name in (theirs, ours):
            rounds = [rounds_of(pair, name, count) for count in counts]
            cells = [_spread(each, "throughput", "{:.0f}") for each in rounds]
            ratio = (
                f"**{best_of(pair, ours) / best_of(pair, theirs):.2f}x**" if name == theirs else ""
            )
            lines.append(_row([name if name == theirs else "beside it: ours", *cells, ratio]))
    return "\n".join([*lines, "", _errors([one for found in task["peers"] for one in found])])


def machine(result: Result) -> str:
    return (
        f"{result['machine']}. {result['how']} Load of the machine before: {result['load']:.2f}. "
        f"{result['date']}, by `benchmarks/serve.py`."
    )


def _about(task: Result) -> str:
    return (
        f"{task['pictures']} different JPEG files. In the precision served here, "
        f"{task['rounded_differently']} of them get another class than in float32."
    )


def _spread(rounds: list[Result], key: str, form: str, scale: float = 1.0) -> str:
    """Median, and the lowest and highest of the rounds."""
    values = sorted(scale * one[key] for one in rounds)
    middle = form.format(median(values))
    if len(values) < 2:
        return middle
    return f"{middle} ({values[0]:.3g} to {values[-1]:.3g})"


def _errors(found: list[Result]) -> str:
    """What went wrong, if anything did."""
    total = sum(one["requests"] for each in found for one in each["rounds"])
    kinds: dict[str, int] = {}
    for each in found:
        for one in each["rounds"]:
            for kind, count in one["errors"].items():
                name = f"{each['system']}: {kind}"
                kinds[name] = kinds.get(name, 0) + count
    if not kinds:
        return f"{total:,} requests; all answers right."
    listed = "; ".join(f"{name} {count:,}" for name, count in sorted(kinds.items()))
    return f"{total:,} requests. Not answered, or wrongly: {listed}."


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
