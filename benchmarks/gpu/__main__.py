"""Checks and measures a machine with one GPU, in as many seconds as there are.

    .venv/bin/python -m benchmarks.gpu [--seconds 600] [--device cuda|cpu] [--data DIR]

First it checks what the GPU computes: training and serving beside a CPU, resumed and deterministic
runs, pinned memory, two workers on one GPU. Then it runs the rows of the publications, the shortest
first; fast94, fast95 and fast96 five times each; and both servers, ours and TorchServe's own
handler. A step is begun if it is expected to end in time. Each result is written into --output when
it is there, and another call with the same --output continues: it repeats the checks, resumes runs
that were stopped, and begins what is left. The exit status is 1 if a check failed.

Needs this repository and what it depends on, no network, and CIFAR-10 for all but the checks and
the servers. ``--device cpu --seconds 60`` tries it without a GPU.
"""

import json
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

import torch

from falconet.training.data import is_cifar10
from falconet.training.run import describe_environment, processor

from .. import document
from ..table import table
from . import checks, fast, rows, serving
from .checks import Checks
from .fast import Fast, beside_airbench
from .rows import Rows
from .serving import Beside
from .steps import BAD, Outcome, run, status

# Of the seconds, at which each part has to end. A part that ends early leaves its time to the next.
SHARES = {checks.PART: 1.0, rows.PART: 0.5, fast.PART: 0.75, serving.PART: 1.0}
# On a GPU, small networks leave room for others.
AT_ONCE = {"cuda": 4, "cpu": 1}


def found_data(source: str) -> str | None:
    """Where CIFAR-10 is; ``None`` if it is not there."""
    try:
        return source if is_cifar10(source) else None
    except (ConnectionError, ModuleNotFoundError):
        return None


def say(outcome: Outcome) -> None:
    if outcome.state == "no time":
        return  # they are listed at the end
    said = f"{outcome.part:8} {outcome.name:24} {outcome.state:8} {outcome.seconds:6.1f} s"
    print(f"{said}  {outcome.message}".rstrip(), flush=True)


def summary(outcomes: Iterable[Outcome], device: str) -> str:
    """All steps in a table, and the runs that are compared with airbench's in another."""
    outcomes = list(outcomes)
    head = ["part", "step", "state", "expected", "took", ""]
    lines = [
        [
            each.part,
            each.name,
            f"**{each.state}**" if each.state in BAD else each.state,
            f"{each.expected:.0f} s",
            f"{each.seconds:.1f} s",
            each.message.replace("|", "/") or figures(each),
        ]
        for each in outcomes
        if each.state != "no time"
    ]
    late = [f"{each.name} {each.expected:.0f} s" for each in outcomes if each.state == "no time"]
    parts = [f"{device}\n\n{table(head, lines)}\n", beside_airbench(outcomes)]
    parts += [f"No time for: {', '.join(late)}.\n"] if late else []
    return "\n".join(part for part in parts if part)


def figures(outcome: Outcome) -> str:
    """The most important ones of a step that passed."""
    found = outcome.found
    if outcome.part == rows.PART:
        return "; ".join(f"{name} {each['shown']}" for name, each in found.items())
    if outcome.part == serving.PART:
        best = found["throughput"].items()
        return "; ".join(f"{name} {value:.0f} responses/s" for name, value in best)
    if outcome.name == "compile":
        return f"pays from {found['pays_from_epochs'] or 'no number of'} epochs"
    if outcome.part == fast.PART:
        return f"{100 * found['accuracy']:.2f} % in {found['seconds']:.1f} s"
    return ""


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all steps (600)")
    parser.add_argument("--device", choices=AT_ONCE, default="cuda")
    parser.add_argument("--data", default="cifar10", help="as for falconet train (cifar10)")
    folder = document.ROOT / "build" / "gpu"
    parser.add_argument("--output", type=Path, default=folder, help="of results (build/gpu)")
    parser.add_argument("--only", choices=SHARES, action="append", help="may be repeated")
    parser.add_argument("--at-once", type=int, help="rows that run at the same time on the device")
    arguments = parser.parse_args()
    kind, output = arguments.device, arguments.output.resolve()
    if kind == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks for GPUs; for processes, too
    elif not torch.cuda.is_available():
        sys.exit("expected an NVIDIA GPU, torch finds none; try without one by --device cpu")
    device = torch.cuda.get_device_name() if kind == "cuda" else processor()
    data = found_data(arguments.data)
    output.mkdir(parents=True, exist_ok=True)
    environment = describe_environment() | {"machine": platform.node(), "data": data}
    (output / "environment.json").write_text(json.dumps(environment, indent=1) + "\n")

    every = [
        *Checks(kind, output / "checks").steps(),
        *Rows(kind, data, output).steps(),
        *Fast(kind, device, data, output).steps(),
        *Beside(kind).steps(),
    ]
    chosen = [step for step in every if step.part in (arguments.only or SHARES)]
    at_once = {rows.PART: arguments.at_once or AT_ONCE[kind]}
    outcomes = run(chosen, arguments.seconds, SHARES, output, device, at_once, say)
    said = summary(outcomes, device)
    (output / "summary.md").write_text(said)
    print(f"\n{said}\nIn {output}.")
    sys.exit(status(outcomes))


if __name__ == "__main__":
    main()
