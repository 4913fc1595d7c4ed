"""Formats of the results. To add one, write a function and a line in FORMATS."""

import csv
import io
import json
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from . import FORMAT_NAMES
from .row import Row

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float32()),
        ("labels", pa.list_(pa.string())),
        ("probabilities", pa.list_(pa.float32())),
        ("error", pa.string()),
        ("status", pa.int16()),
        ("model", pa.string()),
        ("version", pa.string()),
    ]
)


def encode(rows: Sequence[Row], format: str, model: str, version: str) -> bytes:
    """Rows as the content of a file.

    Args:
        rows: of a part.
        format: name in :data:`FORMATS`.
        model, version: that predicted them.
    """
    return FORMATS[format](rows, model, version)


def _parquet(rows: Sequence[Row], model: str, version: str) -> bytes:
    columns = {name: [getattr(row, name) for row in rows] for name in Row._fields}
    table = pa.table(
        {**columns, "model": [model] * len(rows), "version": [version] * len(rows)}, SCHEMA
    )
    file = pa.BufferOutputStream()
    pq.write_table(table, file, compression="zstd")
    content: bytes = file.getvalue().to_pybytes()
    return content


def _json_lines(rows: Sequence[Row], model: str, version: str) -> bytes:
    lines = (
        json.dumps({**row._asdict(), "model": model, "version": version}, ensure_ascii=False)
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _csv(rows: Sequence[Row], model: str, version: str) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(SCHEMA.names)
    for row in rows:
        lists = json.dumps(row.labels, ensure_ascii=False), json.dumps(row.probabilities)
        writer.writerow([*row[:3], *lists, *row[5:], model, version])
    return file.getvalue().encode()


FORMATS: dict[str, Callable[[Sequence[Row], str, str], bytes]] = dict(
    zip(FORMAT_NAMES, (_parquet, _json_lines, _csv), strict=True)
)
