"""Compares our load generator with wrk and autocannon, on the same servers.

    .venv/bin/python -m benchmarks.load_generator

Needs both programs on PATH. Ours sends different images and checks every answer afterwards; wrk
sends the same ones and counts answers; autocannon, which takes whole milliseconds, sends one.
Writes benchmarks/results/load_generator.json and the table in docs/serving.md.
"""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .. import document, rounds, system, task
from ..progress import progress
from ..table import spread, table
from .encode import post
from .load import Target, closed_loop

ROUNDS, SECONDS = 5, 3
CONNECTIONS = (1, 32)
COLUMNS = (("throughput", 1, ".0f"), ("p50", 1e3, ".2f"), ("p99", 1e3, ".2f"))
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
Figures = dict[str, Any]

SCRIPT = """
local requests, next = {}, 0
init = function()
  for i = 1, %d do
    local file = io.open(string.format("%s/%%d", i), "rb")
    local body = file:read("*all")
    file:close()
    requests[i] = wrk.format("POST", "%s", {["Content-Type"] = "application/json"}, body)
  end
end
request = function() next = next %% #requests + 1; return requests[next] end
"""


def ours(served: system.System, connections: int) -> Figures:
    found = rounds.measure(served, partial(closed_loop, served.target, connections, SECONDS))
    if found["errors"]:
        raise RuntimeError(f"{served.name}: {found['errors']}")
    return {name: found[name] for name, _, _ in COLUMNS}


def wrk(url: str, script: Path, connections: int) -> Figures:
    output = _run(
        *("wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", str(script), url)
    )
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    found = {"throughput": _number(r"Requests/sec:\s+([\d.]+)()", output)}
    return found | {f"p{q}": _number(rf"\s{q}%\s+([\d.]+)(us|ms|s)", output) for q in (50, 99)}


def autocannon(url: str, body: Path, connections: int) -> Figures:
    output = _run(
        *("autocannon", "--json", "--no-progress", "-m", "POST", "-i", str(body)),
        *("-H", "Content-Type: application/json", "-c", str(connections), "-d", str(SECONDS), url),
    )
    found = json.loads(output)
    if found["non2xx"] or found["errors"]:
        raise RuntimeError(output)
    seconds = {f"p{q}": found["latency"][f"p{q}"] / 1e3 for q in (50, 99)}
    return {"throughput": found["requests"]["total"] / found["duration"], **seconds}


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr}")
    return done.stdout


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"expected {pattern} in {text}")
    return float(found[1]) * UNITS.get(found[2], 1.0)


def generators(
    served: system.System, images: list[bytes], folder: Path
) -> dict[str, Callable[[int], Figures]]:
    """Each by its name; given connections, it measures.

    Images go as JSON: autocannon takes a body for text.
    """
    path = served.target.requests[0].split(b" ", 2)[1].decode()
    requests = []
    for i, image in enumerate(images, 1):
        body = json.dumps({"instances": [{"b64": base64.b64encode(image).decode()}]}).encode()
        (folder / str(i)).write_bytes(body)
        requests.append(post(path, body, "application/json"))
    script = folder / "requests.lua"
    script.write_text(SCRIPT % (len(images), folder, path))
    url = f"http://127.0.0.1:{served.target.port}"
    return {
        "ours": partial(ours, replace(served, target=Target(served.target.port, requests))),
        "wrk": partial(wrk, url, script),
        "autocannon": partial(autocannon, url + path, folder / "1"),
    }


def page(result: dict[str, Any]) -> str:
    rows = []
    for row in result["rows"]:
        cells = [
            spread((scale * one[name] for one in row["rounds"]), form)
            for name, scale, form in COLUMNS
        ]
        rows.append([f"{row['server']}, {row['connections']}", row["generator"], *cells])
    head = ["server, connections", "generator", "requests/s", "p50, ms", "p99, ms"]
    return (
        f"{table(head, rows)}\n\nMedians, with minimum and maximum, of {ROUNDS} rounds of "
        f"{SECONDS} s each, in shuffled order, each generator in one thread. "
        f"{result['versions']}. {document.measured('load_generator', result['machine'])}\n"
    )


def versions() -> str:
    """Of both other programs."""
    # wrk says its version, and ends with 1.
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    other = _run("autocannon", "--version").splitlines()[0]
    return f"{said.partition(' [')[0]}, {other}"


def main() -> None:
    document.parser(__doc__).parse_args()
    missing = [name for name in ("wrk", "autocannon") if shutil.which(name) is None]
    if missing:
        sys.exit(f"expected on PATH: {', '.join(missing)}")
    result = document.conditions() | {"versions": versions()}
    with ExitStack() as stack:
        cifar = stack.enter_context(task.cifar())
        found = {}
        for maker in (system.noop(cifar), system.falconet(cifar)):
            served = stack.enter_context(maker)
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="falconet-")))
            found[served.name] = generators(served, cifar.images, folder)
        rows = [
            {"server": server, "connections": connections, "generator": name}
            for server, each in found.items()
            for connections in CONNECTIONS
            for name in each
        ]
        result["rows"] = rounds.in_turn(
            rows,
            lambda row, _: found[row["server"]][row["generator"]](row["connections"]),
            ROUNDS,
            stack.enter_context(progress()),
            "generators",
        )
    print(page(result))
    document.keep("load_generator", result)
    document.write(document.DOCS / "serving.md", "load_generator", page(result))


if __name__ == "__main__":
    main()
