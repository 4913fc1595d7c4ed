"""Compares our load generator with wrk and autocannon, on the same servers.

    .venv/bin/python benchmarks/generators.py

Needs the extra `benchmarks`, and both programs on PATH. Ours sends different pictures and checks
every answer afterwards; wrk sends the same ones and counts answers; autocannon, which takes whole
milliseconds, sends one. Writes benchmarks/results/generators.json and the table in
docs/serving.md.
"""

import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from document import DOCS, RESULTS, environment, replace_between
from rich.progress import track
from serving.load import Target, closed_loop, post
from serving.round import measure

from serving import run, system, task

ROUNDS, SECONDS = 5, 3
CONNECTIONS = (1, 32)
COLUMNS = (("throughput", 1, ".0f"), ("p50", 1e3, ".2f"), ("p99", 1e3, ".2f"))
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
Figures = dict[str, float]

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
    found = measure(served, partial(closed_loop, served.target, connections, SECONDS))
    if found["errors"]:
        raise RuntimeError(f"{served.name}: {found['errors']}")
    return {name: found[name] for name in ("throughput", "p50", "p99")}


def wrk(served: system.System, connections: int, script: Path) -> Figures:
    output = _run(
        *("wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", str(script)),
        f"http://127.0.0.1:{served.target.port}",
    )
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"{served.name}: {output}")
    found = {"throughput": _number(r"Requests/sec:\s+([\d.]+)()", output)}
    for q in (50, 99):
        found[f"p{q}"] = _number(rf"\s{q}%\s+([\d.]+)(us|ms|s)", output)
    return found


def autocannon(served: system.System, connections: int, picture: Path, path: str) -> Figures:
    found = json.loads(
        _run(
            *("autocannon", "--json", "--no-progress", "-m", "POST", "-i", str(picture)),
            *("-H", "Content-Type: application/json", "-c", str(connections), "-d", str(SECONDS)),
            f"http://127.0.0.1:{served.target.port}{path}",
        )
    )
    if found["non2xx"] or found["errors"]:
        raise RuntimeError(f"{served.name}: {found}")
    latency = found["latency"]
    seconds = {f"p{q}": latency[f"p{q}"] / 1e3 for q in (50, 99)}
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
    served: system.System, pictures: list[bytes], folder: Path
) -> dict[str, Callable[[int], Figures]]:
    """Each by its name; given connections, it measures.

    Pictures go as JSON: autocannon takes a body for text.
    """
    folder.mkdir()
    path = _path(served.target)
    requests = []
    for i, picture in enumerate(pictures, 1):
        body = json.dumps({"instances": [{"b64": base64.b64encode(picture).decode()}]}).encode()
        (folder / str(i)).write_bytes(body)
        requests.append(post(path, body, "application/json"))
    served = replace(served, target=Target(served.target.port, requests))
    script = folder / "requests.lua"
    script.write_text(SCRIPT % (len(pictures), folder, path))
    return {
        "ours": partial(ours, served),
        "wrk": partial(wrk, served, script=script),
        "autocannon": partial(autocannon, served, picture=folder / "1", path=path),
    }


def _path(target: Target) -> str:
    return target.requests[0].split(b" ", 2)[1].decode()


def table(result: dict[str, Any]) -> str:
    lines = [
        "| server, connections | generator | requests/s | p50, ms | p99, ms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        cells = [f"{row['server']}, {row['connections']}", row["generator"]]
        for name, scale, form in COLUMNS:
            values = [scale * one[name] for one in row["rounds"]]
            cells.append(f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Medians, with the lowest and highest, of {ROUNDS} rounds of {SECONDS} s each, in "
            f"shuffled order, each generator in one thread. {result['versions']}. Measured by "
            f"`benchmarks/generators.py` on {result['machine']}.",
            "",
        ]
    )


def versions() -> str:
    """Of both other programs."""
    # wrk says its version, and ends with 1.
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    other = _run("autocannon", "--version").splitlines()[0]
    return f"{said.partition(' [')[0]}, {other}"


def main() -> None:
    missing = [name for name in ("wrk", "autocannon") if shutil.which(name) is None]
    if missing:
        sys.exit(f"expected on PATH: {', '.join(missing)}")
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        folder = Path(temporary)
        cifar = task.cifar(folder / "model")
        rows = []
        with (
            system.noop(cifar, folder / "noop") as noop,
            system.falconet(cifar, folder / "falconet") as falconet,
        ):
            for i, served in enumerate((noop, falconet)):
                run.warm_up(served)
                found = generators(served, cifar.pictures, folder / f"pictures{i}")
                rows += [
                    {"server": served.name, "connections": n, "generator": name, "rounds": [],
                     "measure": partial(generator, n)}
                    for n in CONNECTIONS
                    for name, generator in found.items()
                ]  # fmt: skip
            order = [i for _ in range(ROUNDS) for i in random.permutation(len(rows))]
            for i in track(order, "rounds"):
                rows[i]["rounds"].append(rows[i]["measure"]())
    for row in rows:
        del row["measure"]
    result = {"machine": environment(), "versions": versions(), "rows": rows}
    print(table(result))
    (RESULTS / "generators.json").write_text(json.dumps(result, indent=1) + "\n")
    replace_between(DOCS / "serving.md", "generators", table(result))


if __name__ == "__main__":
    main()
