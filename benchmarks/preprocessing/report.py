"""The page."""

from typing import Any

from ..document import command
from ..table import table
from .comparison import Jobs, comparison, number, percent, ratio, size, unlike
from .task import FILTERS

Result = dict[str, Any]


def page(result: Result) -> str:
    """All tables, for docs/preprocessing.md."""
    jobs: Jobs = result["jobs"]
    sections = [
        ("Targets", [_targets(result["targets"]), _faster(jobs)]),
        ("One thread, one image", [_batches(jobs, 1)]),
        ("Cold caches", [comparison(_of(jobs, "batch", cold=True), "bilinear")]),
        ("A new size for every image", [comparison(_of(jobs, "new sizes"), "bilinear")]),
        ("Normalization alone", [comparison(_of(jobs, "normalize"))]),
        ("Resizing alone", [_resizing(jobs)]),
        ("Decoding alone", [_files(_of(jobs, "decode"))]),
        ("From JPEG to the batch", [_files(_of(jobs, "from JPEG"))]),
        ("Memory", [_memory(result["memory"])]),
        ("All shapes", [_shapes(result["shapes"])]),
        ("Measured on", [_machine(result)]),
    ]
    if _of(jobs, "batch", threads=2):
        sections.insert(2, ("Two threads, eight images", [_batches(jobs, 2)]))
    return "\n".join(
        f"## {title}\n\n" + "\n\n".join(text for text in texts if text) + "\n"
        for title, texts in sections
    )


def _of(
    jobs: Jobs, kind: str, threads: int = 1, cold: bool = False, filter: str | None = None
) -> Jobs:
    return [
        job
        for job in jobs
        if (job["kind"], job["threads"], job["cold"]) == (kind, threads, cold)
        and filter in (None, job["filter"])
    ]


def _targets(targets: list[dict[str, Any]]) -> str:
    rows = []
    for target in targets:
        share = target["wanted"] < 1
        spread = target["ratio"]
        low, median, high = (percent(spread[key]) for key in ("low", "median", "high"))
        rows.append(
            [
                target["what"],
                percent(target["wanted"]) if share else f"{target['wanted']:g}x",
                f"{median} ({low} to {high})" if share else ratio(spread),
                "yes" if target["reached"] else "**no**",
            ]
        )
    return table(["one thread", "target", "measured", "reached"], rows)


def _faster(jobs: Jobs) -> str:
    """Every peer that beats us, in any job but the decoders' own."""
    rows = []
    for job in jobs:
        for contender in job["contenders"]:
            if contender["ours"] or contender["ratio"]["high"] >= 1 or job["kind"] == "decode":
                continue
            words = [job["kind"], size(job), job["filter"], "cold" if job["cold"] else ""]
            words.append(f"{job['threads']} threads" if job["threads"] > 1 else "")
            rows.append(
                [
                    contender["name"],
                    " ".join(word for word in words if word),
                    ratio(contender["ratio"]),
                    unlike([contender]),
                    contender.get("note", ""),
                ]
            )
    if not rows:
        return "No peer was faster than Falconet in any of these jobs."
    head = [
        "faster than Falconet",
        "case",
        "its time / Falconet's",
        "bytes that differ from Pillow's",
        "reason",
    ]
    return table(head, rows)


def _batches(jobs: Jobs, threads: int) -> str:
    return "\n\n".join(
        comparison(_of(jobs, "batch", threads, filter=filter), filter) for filter in FILTERS
    )


def _resizing(jobs: Jobs) -> str:
    bilinear = _of(jobs, "resize", filter="bilinear")
    others = [job for job in _of(jobs, "resize") if job not in bilinear]
    columns = [f"{size(job)}, {job['filter']}" for job in others]
    return comparison(bilinear, "bilinear") + "\n\n" + comparison(others, columns=columns)


def _files(jobs: Jobs) -> str:
    columns = [f"{size(job)}, {job['jpeg_bytes'] / 1e3:.0f} kB" for job in jobs]
    return comparison(jobs, jobs[0]["filter"], columns)


def _memory(memory: dict[str, list[dict[str, Any]]]) -> str:
    rows = []
    for threads, found in memory.items():
        for measured in found:
            speed, share = measured["gigabytes_per_second"], measured["share_of_copy"]
            what = {"copy": "copying 256 MiB", "read": "reading 256 MiB"}.get(
                measured["name"], f"**Falconet**, {measured['name']}, bilinear"
            )
            rows.append(
                [
                    f"{what}, {threads} thread{'s' if threads != '1' else ''}",
                    number(measured["bytes"] / 1e6),
                    f"{number(speed['median'])} ({number(speed['low'])} to "
                    f"{number(speed['high'])})",
                    percent(share["median"]),
                ]
            )
    return table(["", "MB moved", "GB/s", "share of copying"], rows)


def _shapes(shapes: list[dict[str, Any]]) -> str:
    """The extremes alone; all are in the file."""
    ordered = sorted(shapes, key=lambda shape: shape["ratio"]["median"])
    slower = [shape for shape in ordered if shape["ratio"]["high"] < 1]
    head = ["image (height, width, channels)", "to", "filter", "time", "time of plain C++"]
    rows = []
    for shape in [*ordered[:5], *ordered[-3:]]:
        target = "x".join(str(side) for side in shape["target"])
        how = f"shorter side {shape['resize']}" if shape["resize"] else "squashed"
        rows.append(
            [
                "x".join(str(side) for side in shape["image"]),
                f"{target}, {how}",
                shape["filter"],
                f"{number(shape['milliseconds']['median'])} ms",
                ratio(shape["ratio"]),
            ]
        )
    verdict = (
        f"slower beyond its quartiles in {len(slower)} of them"
        if slower
        else "never slower beyond its quartiles"
    )
    return (
        f"{len(shapes)} combinations of shape, channels, target and filter, from 1x1 to 8000x8000. "
        f"The fastest implementation is {verdict}; the smallest ratio to plain C++ is "
        f"{number(ordered[0]['ratio']['median'])}x. The five smallest and the three largest:\n\n"
        f"{table(head, rows)}"
    )


def _machine(result: Result) -> str:
    machine = result["machine"]
    missing = ", ".join(result["missing"])
    parts = [
        _environment(result, tuple(result["versions"])),
        machine["system"],
        ", ".join(machine["flags"]),
        f"last-level cache {machine['last_level_cache']}",
        f"load average {result['load']:.1f} at the start",
    ]
    return (
        f"{'; '.join(parts)}. {result['rounds']} rounds, {result['date']}, by "
        f"`{command('preprocessing')}`; every number is in `benchmarks/results/preprocessing.json`."
        + (f" Not installed, and so not measured: {missing}." if missing else "")
    )


def _environment(result: Result, names: tuple[str, ...]) -> str:
    machine = result["machine"]
    found = result["versions"]
    versions = ", ".join(f"{name} {found[name]}" for name in names if name in found)
    return f"{machine['processor']}, {machine['cores']} cores; {versions}"
