"""falconet score"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click

from falconet.handler.precision import Precision
from falconet.native import available_cores
from falconet.scoring import FORMAT_NAMES, PART_SIZE
from falconet.serving.package import Package

from .scoring_progress import track

SHOWN = 10  # classes


@click.command()
@click.argument("source", metavar="INPUT")
@click.option(
    "--model",
    "archive",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Archive of the model, as it is served.",
)
@click.option("--output", required=True, help="Folder of the results: a path or a URL.")
@click.option(
    "--format",
    type=click.Choice(FORMAT_NAMES),
    default="parquet",
    show_default=True,
    help="Format of the results.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes, each with a copy of the model and one thread.  [default: one per core]",
)
@click.option(
    "--part-size",
    type=click.IntRange(min=1),
    default=PART_SIZE,
    show_default=True,
    help="Images per file of results, for folders, patterns and lists of paths.",
)
@click.option("--resume", is_flag=True, help="Continue the job in --output, or start it.")
@click.option(
    "--precision",
    type=click.Choice([each for each in get_args(Precision) if each != "auto"]),
    help="Precision of the computation.  [default: that of the archive; if it lists several, "
    "probably the fastest on this CPU]",
)
@click.option(
    "--address",
    help="Address of a Ray cluster to run on, like auto or ray://HOST:10001.  [default: the cores "
    "of this machine, without Ray]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def score(
    source: str,
    archive: Path,
    output: str,
    format: str,
    workers: int | None,
    part_size: int,
    resume: bool,
    precision: Precision | None,
    address: str | None,
    as_json: bool,
) -> None:
    """Classifies all images of INPUT without a server, and writes the results to files.

    \b
    INPUT is one of
      a folder, with all its subfolders;
      a pattern like 'photos/**/*.jpg', in quotes;
      a text file (.txt) with one path or URL per line;
      a Parquet file with a column of images (image, bytes) or of paths (path, url);
      a tar file, as WebDataset writes it.
    It may be on object storage: s3://BUCKET/FOLDER.

    The decoding, preprocessing and model are those of the server. An invalid image gets a row with
    the error. A job that was interrupted continues with --resume: finished files are kept. The exit
    status is 1 if files could not be read; --resume tries them again.
    """
    from falconet.scoring import cluster, local
    from falconet.scoring.job import Job, todo
    from falconet.scoring.row import UNREADABLE
    from falconet.scoring.summary import Summary
    from falconet.scoring.worker import find_precision

    package = Package.verify(archive)
    began = time.monotonic()
    job = Job.of(
        archive,
        package.model,
        package.version,
        source,
        output,
        format,
        precision or find_precision(archive),
    )
    with job.locked():
        parts = job.begin(part_size, resume)
        finished = job.finished(len(parts))
        total = Summary()
        for summary in finished.values():
            total.add(summary)
        before = total.images
        left = list(todo(parts, finished))
        results: Iterator[Summary] = iter(())
        if left and address is None:
            results = local.run(job, left, min(workers or available_cores(), len(left)))
        elif left and address is not None:
            results = cluster.run(job, left, workers, address)
        for summary in track(results, len(parts), len(finished)):
            total.add(summary)
        content = job.end(total, total.images - before, time.monotonic() - began)
    click.echo(json.dumps(content) if as_json else _report(content))
    if total.errors[UNREADABLE]:
        raise click.exceptions.Exit(1)


def _report(content: dict[str, Any]) -> str:
    """A summary as text."""
    errors, run = content["errors"], content["this_run"]
    lines = [
        f"{content['images']:,} images, {sum(errors.values()):,} of them without a prediction; "
        f"{run['images']:,} scored in this run, in {run['seconds']:.1f} s "
        f"({run['images_per_second']:,.0f} images/s)",
        *(
            f"  {'files that cannot be read' if status == '0' else f'status {status}'}: {count:,}"
            for status, count in errors.items()
        ),
        *(f"  {label}: {count:,}" for label, count in list(content["classes"].items())[:SHOWN]),
        f"results: {content['output']}",
    ]
    return "\n".join(lines)
