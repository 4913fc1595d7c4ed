"""Looks for the request that costs most, of all kinds of benchmarks/faults/floods.py and all sizes.

    .venv/bin/python -m benchmarks.worst [--draws N] [--quick]

The handler in this process, as a worker with one thread; CPU time of each request, and by how much
the process grew for it at most. Writes benchmarks/results/worst.json and the table in
docs/operations.md; with --quick it prints the table and writes into build/worst/ instead.
"""

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ts.context import Context, RequestProcessor

from falconet.handler.form import TYPE_HEADER
from falconet.handler.service import Service
from falconet.model.export import export
from falconet.model.weights import Weights
from falconet.native.formats import DEFAULT

from .. import document
from ..faults.floods import ALSO, KINDS, Flood
from ..progress import progress
from ..table import table

LARGEST = 20 << 20
SMALLEST = 1 << 12
SHOWN = 12
BATCH = 16


def context(folder: Path, headers: list[dict[str, str]]) -> Context:
    """As TorchServe makes it, for requests with these headers."""
    manifest = {"model": {"serializedFile": "model.pt"}}
    options = {"maxWorkers": 1, "falconet": {"threads": 1}}
    made = Context("m", str(folder), manifest, BATCH, None, "0.12.0", model_yaml_config=options)
    made.request_processor = [RequestProcessor(each) for each in headers]
    return made


def peak() -> int:
    """Bytes that this process has held at most, since :func:`forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def cost(service: Service, folder: Path, floods: list[Flood]) -> dict[str, Any]:
    """CPU seconds and bytes of memory of a batch, and its statuses."""
    # Forms come as a gateway passes them on.
    headers = [
        {
            (TYPE_HEADER if value.startswith("multipart") else name): value
            for name, value in flood.headers.items()
        }
        for flood in floods
    ]
    asked = context(folder, headers)
    batch = [{"body": bytearray(flood.body)} for flood in floods]
    forget_peak()
    before, began = peak(), time.process_time()
    answers = service.handle(batch, asked)
    seconds = time.process_time() - began
    return {
        "seconds": seconds,
        "memory": peak() - before,
        "statuses": [asked.get_response_status(i)[0] for i in range(len(answers))],
    }


def search(draws: int, seed: int = 0) -> dict[str, Any]:
    """Every kind at its largest, and then kinds and sizes at random; the worst as whole batches."""
    random = np.random.default_rng(seed)
    kinds = list(KINDS)
    drawn = [(kind, LARGEST - (1 << 16)) for kind in kinds]
    while len(drawn) < draws:
        size = int(np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST))))
        drawn.append((kinds[random.integers(len(kinds))], size))
    found = []
    with TemporaryDirectory(prefix="falconet-") as temporary, progress() as bars:
        folder = Path(temporary)
        weights = Weights.load()
        export(replace(weights, spec=replace(weights.spec, formats=(*DEFAULT, *ALSO))), folder)
        service = Service(context(folder, []))
        cost(service, folder, [KINDS["JPEG: large"](0)])
        for kind, size in bars.track(drawn, description="requests"):
            flood = KINDS[kind](size)
            if len(flood.body) <= LARGEST:
                one = cost(service, folder, [flood])
                found.append({"kind": kind, "bytes": len(flood.body), **one})
        by_memory = sorted(found, key=lambda each: each["memory"])[-3:]
        batches = []
        for each in by_memory:
            floods = [KINDS[each["kind"]](each["bytes"])] * BATCH
            batches.append({"kind": each["kind"], **cost(service, folder, floods)})
    return {"requests": found, "batches": batches}


def page(result: dict[str, Any]) -> str:
    worst: dict[str, dict[str, Any]] = {}
    for each in sorted(result["requests"], key=lambda each: each["seconds"]):
        worst[each["kind"]] = each
    shown = sorted(worst.values(), key=lambda each: -each["seconds"])[:SHOWN]
    rows = [
        [
            each["kind"],
            f"{each['bytes'] / 1e6:.2f} MB",
            f"{each['seconds']:.2f} s",
            f"{each['memory'] / 1e6:.0f} MB",
            ", ".join(str(status) for status in sorted(set(each["statuses"]))),
        ]
        for each in shown
    ]
    batch = max(result["batches"], key=lambda each: each["memory"])
    return (
        f"{table(['request', 'body', 'CPU', 'memory', 'status'], rows)}\n\n"
        f"The most expensive by CPU time of {len(result['requests'])} requests of {len(worst)} "
        f"kinds, each at its largest size and then at random sizes, in one process with one "
        f"thread. The batch of {BATCH} that took most memory, {batch['kind']}, took "
        f"{batch['memory'] / 1e6:.0f} MB. {document.measured('worst', result['machine'])}\n"
    )


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--draws", type=int, default=500, help="how many requests (500)")
    parser.add_argument("--quick", action="store_true", help="into build/")
    options = parser.parse_args()
    result = document.conditions() | search(options.draws)
    print(page(result))
    document.keep("worst", result, options.quick)
    if not options.quick:
        document.write(document.DOCS / "operations.md", "worst", page(result))


if __name__ == "__main__":
    main()
