"""Measures how near the kernels are to what the processor can do, and writes it down.

    .venv/bin/python -m benchmarks.preprocessing.floor

Builds floor.cpp, with the kernels as the extension has them. Takes the time of whole images, and
the bandwidth of the memory, from what benchmarks.preprocessing measured before. Writes
benchmarks/results/floor.json and the table in docs/preprocessing.md. For processors with AVX-512.
"""

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .. import document
from ..table import table

FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off"]
# What knows Python, or threads.
LEFT_OUT = ("bindings.cpp", "thread_pool.cpp")
SIDE = 224
BATCH_BYTES = 4 * 3 * SIDE * SIDE
# Instructions of the kind that does the products, VPDPBUSD, per cycle. True for server processors
# since Ice Lake and Zen 4; https://uops.info lists them.
PRODUCTS_PER_CYCLE = 2
DIGITS = 3


def products(row: dict[str, int]) -> int:
    """How many instructions of 64 products the two passes take: see csrc/kernels_avx512.cpp."""
    groups = row["horizontal_groups"]
    five_to_a_vector = min(row["height"], row["width"]) / 256 < 4.25
    # Else two pixels, and two groups of each.
    vectors = -(-SIDE // 5) * groups if five_to_a_vector else SIDE // 2 * -(-groups // 2)
    across = -(-SIDE * 3 // 64) * row["vertical_groups"] * 4
    return DIGITS * (row["source_rows"] * vectors + SIDE * across)


def rows(measured: dict[str, Any], bandwidth: float, whole_ms: dict[str, float]) -> list[Any]:
    found = []
    for row in measured["rows"]:
        cycles = products(row) / PRODUCTS_PER_CYCLE
        kernels = row["source_rows"] * row["horizontal_ns"] + SIDE * row["vertical_ns"]
        size = f"{row['width']}x{row['height']}"
        found.append(
            {
                "size": size,
                "products_us": cycles * measured["nanoseconds_per_cycle"] / 1e3,
                "bytes_us": (row["source_bytes"] + BATCH_BYTES) / bandwidth * 1e6,
                "kernels_us": kernels / 1e3,
                "whole_us": 1e3 * whole_ms[size],
            }
        )
    return found


def build(folder: Path) -> Path:
    """Compile floor.cpp into a folder, and return the program."""
    program, csrc = folder / "floor", document.ROOT / "csrc"
    sources = [Path(__file__).with_suffix(".cpp"), *csrc.glob("*.cpp")]
    found = [str(path) for path in sources if path.name not in LEFT_OUT]
    subprocess.run(["c++", *FLAGS, f"-I{csrc}", "-o", str(program), *found], check=True)
    return program


def page(result: dict[str, Any]) -> str:
    times = ("products_us", "bytes_us", "kernels_us", "whole_us")
    rows = [[row["size"], *(f"{row[name]:.0f} µs" for name in times)] for row in result["rows"]]
    head = ["image", "products only", "bytes only", "both passes, data in L1"]
    clock = 1 / result["nanoseconds_per_cycle"]
    return (
        f"{table([*head, 'whole preprocessing, measured'], rows)}\n\n"
        f"Measured by `{document.command('preprocessing.floor')}` at {clock:.2f} GHz and "
        f"{result['bandwidth'] / 1e9:.0f} GB/s, on {result['machine']}.\n"
    )


def main() -> None:
    document.parser(__doc__).parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    result = document.conditions()
    with TemporaryDirectory(prefix="falconet-") as temporary:
        program = build(Path(temporary))
        finished = subprocess.run([str(program)], stdout=subprocess.PIPE, check=True)
    measured = json.loads(finished.stdout)
    assert measured["implementation"] == "avx512", "the instructions are counted for AVX-512"
    preprocessing = document.load("preprocessing")
    (copy,) = (row for row in preprocessing["memory"]["1"] if row["name"] == "copy")
    bandwidth = 1e9 * copy["gigabytes_per_second"]["median"]
    whole_ms = {
        "{}x{}".format(*job["size"]): job["contenders"][0]["milliseconds"]["median"]
        for job in preprocessing["jobs"]
        if (job["kind"], job["filter"], job["threads"], job["cold"])
        == ("batch", "bilinear", 1, False)
    }
    result |= {
        "rows": rows(measured, bandwidth, whole_ms),
        "nanoseconds_per_cycle": measured["nanoseconds_per_cycle"],
        "bandwidth": bandwidth,
    }
    print(page(result))
    document.keep("floor", result)
    document.write(document.DOCS / "preprocessing.md", "preprocessing.floor", page(result), "floor")


if __name__ == "__main__":
    main()
