"""falconet compare"""

import json
import tempfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from falconet.native import available_cores
from falconet.native.formats import DEFAULT
from falconet.scoring import PART_SIZE
from falconet.serving.package import Package

from .scoring_progress import track

if TYPE_CHECKING:
    from falconet.scoring.comparison import Comparison
    from falconet.scoring.job import Job

SHOWN = 10  # label changes

archive_path = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("old", type=archive_path)
@click.argument("new", type=archive_path)
@click.argument("source", metavar="INPUT")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("comparison.html"),
    show_default=True,
    help="Output file: a page with the images whose probabilities change most.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes, each with a copy of a model and one thread.  [default: one per core]",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Minimum share of images that keep their label; below it the exit status is 1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def compare(
    old: Path,
    new: Path,
    source: str,
    output: Path,
    workers: int | None,
    min_agreement: float,
    as_json: bool,
) -> None:
    """Shows how predictions change from the archive OLD to the archive NEW.

    Both models classify all images of INPUT, without a server; INPUT is as for falconet score. An
    image that only one of them predicts counts as one that does not keep its label. If images are
    in folders named after a class, the accuracy of both models is shown as well.
    """
    if not output.absolute().parent.is_dir():
        raise click.UsageError(f"--output: expected an existing folder, got {output.parent}")
    from falconet.scoring import local, plan
    from falconet.scoring.archive import read_spec
    from falconet.scoring.comparison import Comparison
    from falconet.scoring.comparison_page import page

    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        jobs = [
            _job(archive, source, f"{temporary}/{name}")
            for name, archive in (("old", old), ("new", new))
        ]
        specs = [read_spec(archive) for archive in (old, new)]
        found = Comparison(set(specs[0]["classes"]) & set(specs[1]["classes"]))
        parts = plan.make(jobs[0].source, temporary, PART_SIZE)
        processes = min(workers or available_cores(), len(parts))
        results = chain.from_iterable(local.run(job, enumerate(parts), processes) for job in jobs)
        for _ in track(results, 2 * len(parts)):
            pass
        for number in range(len(parts)):
            found.add(number, jobs[0].read(number), jobs[1].read(number))
        if not found.predicted + found.only_old + found.only_new:
            raise ValueError(f"{source}: no model predicts any of its {found.images:,} images")
        old_name, new_name = (f"{job.model} {job.version}" for job in jobs)
        if old_name == new_name:
            old_name, new_name = (f"{old_name} ({archive.name})" for archive in (old, new))
        text = page(old_name, new_name, found, parts, specs[1].get("formats", DEFAULT))
        output.write_text(text, encoding="utf-8")
    if as_json:
        click.echo(json.dumps({**found.to_json(), "page": str(output)}, ensure_ascii=False))
    else:
        click.echo(_report(found, output))
    if found.agreement < min_agreement:
        raise click.exceptions.Exit(1)


def _job(archive: Path, source: str, output: str) -> "Job":
    from falconet.scoring.job import Job
    from falconet.scoring.worker import find_precision

    package = Package.verify(archive)
    precision = find_precision(archive)
    return Job.of(archive, package.model, package.version, source, output, precision=precision)


def _report(found: "Comparison", output: Path) -> str:
    lines = [
        f"{found.images:,} images; both models predict {found.predicted:,}, the old one alone "
        f"{found.only_old:,}, the new one alone {found.only_new:,}",
        f"{found.agreement:.2%} keep their label",
    ]
    lines += [
        f"  {old} -> {new}: {count:,}"
        for (old, new), count in found.label_changes.most_common(SHOWN)
    ]
    if found.labeled:
        old, new = (right / found.labeled for right in (found.correct_old, found.correct_new))
        lines.append(
            f"accuracy on {found.labeled:,} images in folders named after a class: old {old:.2%}, "
            f"new {new:.2%}; {found.correct_only_old:,} correct with the old model alone, "
            f"{found.correct_only_new:,} with the new one alone"
        )
    lines.append(f"page: {output}")
    return "\n".join(lines)
