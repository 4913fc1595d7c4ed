"""Measures what streaming a JPEG's rows into the kernels would bring, and writes it down.

    .venv/bin/python benchmarks/streaming.py

Builds benchmarks/streaming.cpp with the system's libjpeg-turbo (Debian: libjpeg62-turbo-dev).
Writes benchmarks/results/streaming.json and the table in ARCHITECTURE.md.
"""

import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from document import RESULTS, ROOT, environment, replace_between
from native import build
from pictures import SIZES, jpeg

ROUNDS = 101


def measure(program: Path, picture: bytes, folder: Path) -> dict[str, Any]:
    """Medians in milliseconds, and the median of the ratios of one round, with its quartiles."""
    path = folder / "picture.jpg"
    path.write_bytes(picture)
    finished = subprocess.run(
        [str(program), str(path), str(ROUNDS)], stdout=subprocess.PIPE, check=True
    )
    result = json.loads(finished.stdout)
    assert result["same_bytes"]
    ratios = [a / b for a, b in zip(result["whole"], result["streamed"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "height": result["height"],
        "width": result["width"],
        "libjpeg_turbo": result["libjpeg_turbo"],
        "whole_ms": statistics.median(result["whole"]),
        "streamed_ms": statistics.median(result["streamed"]),
        "ratio": middle,
        "quartiles": [low, high],
    }


def table(result: dict[str, Any]) -> str:
    lines = [
        "| JPEG | whole, then preprocessed | streamed | gain (quartiles) |",
        "| --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        low, high = row["quartiles"]
        lines.append(
            f"| {row['width']} x {row['height']} | {row['whole_ms']:.2f} ms | "
            f"{row['streamed_ms']:.2f} ms | {row['ratio']:.2f}x ({low:.2f} to {high:.2f}) |"
        )
    number = str(result["rows"][0]["libjpeg_turbo"])
    version = f"{number[0]}.{int(number[1:4])}.{int(number[4:])}"
    return (
        "\n".join(lines)
        + f"""

One thread, {ROUNDS} rounds of both in turn, the same bytes out. Measured by
`benchmarks/streaming.py` with libjpeg-turbo {version} on {result["environment"]}.
"""
    )


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        folder = Path(temporary)
        program = build("streaming", folder, "-ljpeg")
        rows = [measure(program, jpeg(width, height), folder) for width, height in SIZES]
    result = {"rows": rows, "environment": environment()}
    (RESULTS / "streaming.json").write_text(json.dumps(result, indent=2) + "\n")
    replace_between(ROOT / "ARCHITECTURE.md", "streaming", table(result))
    print(table(result))


if __name__ == "__main__":
    main()
