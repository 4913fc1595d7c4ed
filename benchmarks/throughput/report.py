"""The page."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from statistics import median

from ..document import measured
from ..table import spread, table
from . import targets
from .figures import Result, best_of, p50_alone, rounds_of, systems_of

BUSY = 0.95  # of a core: more than this of a generator in one thread, and it was what was measured


def page(result: Result) -> str:
    """All tables, for docs/serving.md."""
    parts = [f"## Targets\n\n{targets.rows(result)}\n"]
    for task in result["tasks"]:
        parts.append(f"## {task['title']}\n\n{_about(task)}\n")
        if task["peers"]:
            parts.append(f"![Throughput and latency](throughput-{task['name']}.svg)\n")
        parts.append(f"### Closed loop\n\n{closed(task)}\n")
        parts.append(f"### Latency with one connection\n\n{alone(task)}\n")
        if task["open"]:
            parts.append(f"### Open loop\n\n{opened(task)}\n")
        if task["peers"]:
            parts.append(f"### Other servers\n\n{others(task)}\n")
    parts.append(f"## Measured on\n\n{machine(result)}\n")
    return "\n".join(parts)


def closed(task: Result) -> str:
    """Requests a second, by connections; the highest of each system as a ratio to ours."""
    counts = sorted({each["connections"] for each in task["closed"]})
    systems = systems_of(task)
    rows = []
    for name in systems:
        own, theirs = best_of(task, systems[0]), best_of(task, name)
        ratio = f"{own / theirs:.2f}x" if name != systems[0] else ""
        rows.append([name, *_throughput(task, name, counts), ratio])
    return f"{table(_by_connections(counts), rows)}\n\n{_errors(task['closed'])}"


def alone(task: Result) -> str:
    """Milliseconds with a single connection."""
    systems = systems_of(task)
    least = min(each["connections"] for each in task["closed"])
    own = p50_alone(task, systems[0])
    rows = []
    for name in systems:
        found = rounds_of(task, name, least)
        ratio = f"{own / p50_alone(task, name):.2f}x" if name != systems[0] else ""
        rows.append([name, *(_ms(found, q, ".2f") for q in ("p50", "p99")), ratio])
    return table(["one connection", "p50", "p99", "p50, Falconet / other"], rows)


def opened(task: Result) -> str:
    """Latency at fixed rates, from when a request was due."""
    names = ("p50", "p90", "p99", "p99.9")
    head = [
        "system",
        "share of its highest",
        "requests/s",
        *names,
        "sent late, p99",
        "cores of the server",
    ]
    rows = []
    for each in task["open"]:
        found = each["rounds"]
        share = f"{each['share']:.0%}" if each["share"] else "70 % of Falconet's"
        # Latency counts that lateness; where the generator has no time left it is all there is.
        limited = any(one["generator_cores"] > BUSY for one in found)
        name = each["system"] + (" (limited by the generator)" if limited else "")
        late = f"{1e3 * median(one['late'] for one in found):.1f} ms"
        cores = spread((one["server_cores"] for one in found), ".2f", ends=".3g")
        times = [_ms(found, q, ".1f") for q in names]
        rows.append([name, share, f"{each['rate']:.0f}", *times, late, cores])
    late = "Sent late: delay of the load generator, 99th percentile; latency includes it."
    return f"{table(head, rows)}\n\n{late} {_errors(task['open'])}"


def others(task: Result) -> str:
    """Each other server beside ours, in the same rounds."""
    counts = sorted({each["connections"] for each in task["peers"][0]})
    rows = []
    for found in task["peers"]:
        pair = {"closed": found}
        ours, theirs = systems_of(pair)
        ratio = f"**{best_of(pair, ours) / best_of(pair, theirs):.2f}x**"
        rows.append([theirs, *_throughput(pair, theirs, counts), ratio])
        rows.append(["Falconet, in the same rounds", *_throughput(pair, ours, counts), ""])
    return f"{table(_by_connections(counts), rows)}\n\n{_errors(chain(*task['peers']))}"


def machine(result: Result) -> str:
    """How each task was measured, and on which machine."""
    tasks = [
        f"{each['name']}: {each['how']}, {each['date']}, load average before: {each['load']:.2f}."
        for each in result["tasks"]
    ]
    return (
        "The systems are measured in turn, in shuffled order. The tables show the median, with the "
        "lowest and highest round in brackets. Each of the other servers is measured in turn with "
        "Falconet only. "
        f"{' '.join(tasks)} {measured('throughput', '; and '.join(_machines(result)))}"
    )


def _machines(result: Result) -> list[str]:
    return list(dict.fromkeys(each["machine"] for each in result["tasks"]))


def _about(task: Result) -> str:
    return (
        f"{task['images']} different JPEG files. In the served precision, "
        f"{task.get('precision', 'bfloat16')}, "
        f"{task['rounded_differently']} of them get another class than in float32."
    )


def _by_connections(counts: Sequence[int]) -> list[str]:
    return ["requests/s, by connections", *map(str, counts), "highest, Falconet / other"]


def _throughput(task: Result, system: str, counts: Sequence[int]) -> list[str]:
    found = [rounds_of(task, system, count) for count in counts]
    return [spread((one["throughput"] for one in each), ".0f", ends=".3g") for each in found]


def _ms(found: list[Result], key: str, form: str) -> str:
    return spread((1e3 * one[key] for one in found), form, " ms", ends=".3g")


def _errors(found: Iterable[Result]) -> str:
    """What went wrong, if anything did."""
    total, kinds = 0, Counter[str]()
    for each in found:
        for one in each["rounds"]:
            total += one["requests"]
            kinds.update({f"{each['system']}: {kind}": n for kind, n in one["errors"].items()})
    if not kinds:
        return f"{total:,} requests; all responses correct."
    listed = "; ".join(f"{name} {count:,}" for name, count in sorted(kinds.items()))
    return f"{total:,} requests. Missing or wrong responses: {listed}."
