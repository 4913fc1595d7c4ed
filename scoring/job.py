"""One model on all images of an input, with the results in a folder."""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq

from falconet.handler.precision import Precision

from . import plan, storage
from .ahead import map_ahead
from .archive import digest
from .formats import encode
from .part import Part
from .row import UNREADABLE, Row
from .summary import Summary

# In the folder of the results. Readers of data sets pass over names that begin with an underscore.
FILE_NAME, DONE, SUMMARY, LOCK = "_job.json", "_done", "_summary.json", "_lock"
AT_A_TIME = 16  # markers of finished parts that are read from object storage


@dataclass(frozen=True)
class Job:
    """What is scored, and how.

    Attributes:
        archive: path of the model's archive.
        digest: SHA-256 of the archive.
        model, version: as the archive's manifest names them.
        source: the input, see :func:`.plan.make`.
        output: the folder of the results, an absolute path or a URL.
        format: of the results, see :data:`.formats.FORMATS`.
        precision: of the computation; ``auto`` only if the archive does not list any.
    """

    archive: str
    digest: str
    model: str
    version: str
    source: str
    output: str
    format: str
    precision: Precision = "auto"

    @classmethod
    def of(
        cls,
        archive: Path,
        model: str,
        version: str,
        source: str,
        output: str,
        format: str = "parquet",
        precision: Precision = "auto",
    ) -> "Job":
        """A job whose relative paths are resolved in the current folder; see :class:`Job`."""
        return cls(
            str(archive.resolve()),
            digest(archive),
            model,
            version,
            storage.absolute(source),
            storage.absolute(output),
            format,
            precision,
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other jobs out of the folder, if it is on this machine.

        Raises:
            ValueError: another one is at work in it.
        """
        if storage.is_url(self.output):
            yield
            return
        Path(self.output).mkdir(parents=True, exist_ok=True)
        with Path(self._place(LOCK)).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"{self.output}: another job is writing there; wait for it, or choose another "
                    "--output"
                ) from None
            yield

    def begin(self, size: int, resume: bool) -> list[Part]:
        """Start or resume the job, and return its parts.

        Args:
            size: of a part, in images; a job that is resumed keeps its own.
            resume: whether an earlier job of this folder may go on.

        Raises:
            ValueError: the folder has results of another job, or of this one without ``resume``;
                or there are no images.
            FileNotFoundError: there is no such input.
        """
        names = storage.names(self.output)
        if FILE_NAME not in names:
            if any(name.startswith("part-") for name in names):
                raise ValueError(
                    f"{self.output}: expected an empty folder; choose another --output"
                )
            parts = plan.make(self.source, self.output, size)
            storage.write(self._place(FILE_NAME), json.dumps(asdict(self)).encode())
            return parts
        try:
            before = dict(json.loads(storage.read(self._place(FILE_NAME))))
        except (ValueError, TypeError):
            raise ValueError(
                f"{self._place(FILE_NAME)}: damaged; choose another --output"
            ) from None
        # The same archive may be at another path.
        differs = [
            f"{name} (was {before.get(name)}, is {value})"
            for name, value in asdict(self).items()
            if name != "archive" and before.get(name) != value
        ]
        if differs:
            raise ValueError(
                f"{self.output}: has the results of another job, which differs in "
                f"{', '.join(differs)}; choose another --output"
            )
        if not resume:
            raise ValueError(
                f"{self.output}: has results; continue with --resume, or choose another --output"
            )
        return plan.load(self.output)

    def finished(self, parts: int) -> dict[int, Summary]:
        """The parts that are finished, by number; not those with files that could not be read."""
        results = storage.names(self.output)
        numbers = [number for number in range(parts) if self._result(number) in results]
        marked = storage.names(self._place(DONE))
        numbers = [number for number in numbers if _marker(number) in marked]
        places = (self._place(f"{DONE}/{_marker(number)}") for number in numbers)
        found = zip(numbers, map_ahead(_summary, places, AT_A_TIME), strict=True)
        return {
            number: summary
            for number, summary in found
            if summary is not None and not summary.errors[UNREADABLE]
        }

    def write(self, number: int, rows: Sequence[Row]) -> Summary:
        """Write the rows of a part, and then the marker that it is finished."""
        content = encode(rows, self.format, self.model, self.version)
        storage.write(self._place(self._result(number)), content)
        summary = Summary.of(rows)
        text = json.dumps(summary.to_json())
        storage.write(self._place(f"{DONE}/{_marker(number)}"), text.encode())
        return summary

    def read(self, number: int) -> list[Row]:
        """The rows of a finished part; the results need to be Parquet."""
        system, path = storage.locate(self._place(f"part-{number:05}.parquet"))
        table = pq.read_table(path, filesystem=system, columns=list(Row._fields))
        return [Row(**fields) for fields in table.to_pylist()]

    def end(self, total: Summary, images: int, seconds: float) -> dict[str, object]:
        """Write the summary, which is the last file of a job, and return it.

        Args:
            total: of all parts.
            images: that this run scored.
            seconds: that it took.
        """
        run = {"images": images, "seconds": round(seconds, 3)}
        rate = {"images_per_second": round(images / seconds, 1)}
        content = {**asdict(self), **total.to_json(), "this_run": run | rate}
        storage.write(self._place(SUMMARY), (json.dumps(content, indent=1) + "\n").encode())
        return content

    def _result(self, number: int) -> str:
        return f"part-{number:05}.{self.format}"

    def _place(self, name: str) -> str:
        return f"{self.output.rstrip('/')}/{name}"


def _marker(number: int) -> str:
    """The name of the file that says that a part is finished."""
    return f"part-{number:05}.json"


def _summary(place: str) -> Summary | None:
    """Of a finished part; ``None`` if its marker is damaged."""
    try:
        return Summary.from_json(storage.read(place))
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def todo(parts: Sequence[Part], finished: dict[int, Summary]) -> Iterator[tuple[int, Part]]:
    """The parts that are left, with their numbers."""
    return ((number, part) for number, part in enumerate(parts) if number not in finished)
