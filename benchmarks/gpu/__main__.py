"""Checks and measures a machine with one NVIDIA GPU, within a time limit.

    .venv/bin/python -m benchmarks.gpu [--seconds 540] [--device cuda|cpu] [--data DIR]

First come the checks, which compare what the GPU computes with the CPU. Then fast94, fast95 and
fast96 are trained, five times each; TorchServe's own handler is measured beside ours; and the
recipes of the publications are trained, the shortest first, until the time is over. A step starts
only if the time is enough. Another call with the same --output repeats the checks, continues what
was stopped, and starts what had no time. The exit status is 1 if a check or another step failed,
and 130 if the command was stopped.

Needs this repository with its dependencies, and CIFAR-10. It needs no network if --data names a
folder with CIFAR-10 and captum is already in build/peers. ``--device cpu --seconds 60`` tries it
without a GPU.
"""

import fcntl
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from falconet.model import storage
from falconet.training.data import DOWNLOAD_FOLDER, is_cifar10
from falconet.training.run import describe_environment

from .. import document
from ..table import table
from . import BEGAN, checks, child, fast, publications, serving
from .fast import AirbenchComparison, airbench_table
from .publications import Publications
from .serving import ServerComparison
from .steps import FAILED, Limit, Outcome, Step, run, status

# The parts in order, and the fraction of the time at which each ends. Unused time goes to the next
# part. The last part uses all of it, because its steps can be stopped and continued.
ENDS = {checks.PART: 1.0, fast.PART: 0.45, serving.PART: 0.6, publications.PART: 1.0}
NEED_DATA = (fast.PART, publications.PART)
# A GPU has capacity for several runs of small networks at a time.
AT_ONCE = {"cuda": {publications.PART: 4}, "cpu": {}}
DOWNLOAD = "cifar10"  # of torchvision
INTERRUPTED = 130  # exit status, as of a shell


def ends(parts: Sequence[str]) -> dict[str, float]:
    """At which fraction of the time each of these parts ends; the last one at all of it."""
    return {part: min(1.0, ENDS[part] / ENDS[parts[-1]]) for part in parts}


def find_data(source: str) -> str:
    """CIFAR-10 as ``falconet train --data`` takes it, in a folder or from an earlier download.

    Raises:
        SystemExit: it is not there. Nothing is downloaded.
    """
    if Path(source).is_dir():
        if is_cifar10(Path(source)):
            return str(Path(source).resolve())
    elif source == DOWNLOAD:
        from torchvision.datasets import CIFAR10

        try:
            CIFAR10(document.ROOT / DOWNLOAD_FOLDER, download=False)
            return source
        except RuntimeError:  # not there, or damaged
            pass
    sys.exit(
        f"{source}: expected CIFAR-10 (50,000 training and 10,000 test images), found none; name "
        "its folder with --data, or run --only checks --only serving"
    )


def lock(output: Path) -> int:
    """A file descriptor that locks the folder against other calls while it is open.

    Raises:
        SystemExit: another call is running.
    """
    output.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(output / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(
            f"{output}: expected no other call with this folder, one is running; wait for its end"
        )
    return descriptor


def slug(device_name: str) -> str:
    """A device's name as a folder name."""
    return re.sub(r"\W+", "-", device_name).strip("-").lower()


def line(outcome: Outcome) -> str:
    """An outcome for the terminal."""
    state = outcome.state.upper() if outcome.state in FAILED else outcome.state
    shown = f"{outcome.part:12}  {outcome.name:22}  {state:11} {outcome.seconds:6.1f} s"
    return f"{shown}  {outcome.message}".rstrip()


def summary(outcomes: Iterable[Outcome], device_name: str) -> str:
    """All steps, and a comparison with airbench, in Markdown."""
    outcomes = list(outcomes)
    head = ["part", "step", "state", "expected", "took", "result"]
    rows = [
        [
            each.part,
            each.name,
            f"**{each.state}**" if each.state in FAILED else each.state,
            f"{each.expected:.0f} s",
            f"{each.seconds:.1f} s",
            each.message.replace("|", "/").replace("\n", " "),
        ]
        for each in outcomes
        if each.state != "not started"
    ]
    late = [each for each in outcomes if each.state == "not started"]
    parts = [f"# {device_name}\n", f"{table(head, rows)}\n" if rows else ""]
    parts += [airbench_table(outcomes)]
    listed = "".join(f"- {each.part}, {each.name}: {each.message}\n" for each in late)
    parts += [f"Not started:\n\n{listed}"] if late else []
    return "\n".join(part for part in parts if part)


def conclusion(outcomes: Iterable[Outcome], interrupted: bool) -> str:
    """How many steps are left, and what to do about it."""
    left = [each for each in outcomes if each.state in ("not started", "stopped")]
    if not left:
        return "All steps are done."
    lines = []
    for state in ("stopped", "not started"):
        counts = Counter(each.part for each in left if each.state == state)
        if counts:
            number, of = sum(counts.values()), [f"{n} {part}" for part, n in counts.items()]
            why = "the command was stopped" if interrupted else "the time was too short"
            steps = f"{number} step{'s' if number > 1 else ''} ({', '.join(of)})"
            lines.append(f"{state.capitalize()}, because {why}: {steps}.")
    return "\n".join([*lines, "Run the command again to continue."])


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=540.0, help="time limit in seconds (540)")
    parser.add_argument("--device", choices=AT_ONCE, default="cuda", help="cuda or cpu (cuda)")
    parser.add_argument("--data", default=DOWNLOAD, help="as for falconet train (cifar10)")
    folder = document.ROOT / "build" / "gpu"
    parser.add_argument(
        "--output", type=Path, default=folder, help="folder for results (build/gpu)"
    )
    only = "run only this part; may be repeated"
    parser.add_argument("--only", choices=ENDS, action="append", help=only)
    arguments = parser.parse_args()
    device: str = arguments.device
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks for GPUs; for children, too
        device_name = f"CPU {document.processor()}"
    elif torch.cuda.is_available():
        device_name = torch.cuda.get_device_name()
    else:
        sys.exit("expected an NVIDIA GPU, torch finds none; try without one: --device cpu")
    parts = [part for part in ENDS if part in (arguments.only or ENDS)]
    output = arguments.output.resolve() / slug(device_name)
    locked = lock(arguments.output.resolve())
    data = find_data(arguments.data) if set(parts) & set(NEED_DATA) else ""
    environment = {**describe_environment(), "processor": document.processor(), "data": data}
    storage.write(output / "environment.json", (json.dumps(environment, indent=1) + "\n").encode())
    print(f"Device: {device_name}\nResults: {output}", flush=True)

    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, _interrupt)
    made: dict[str, Callable[[], Iterable[Step]]] = {
        checks.PART: lambda: checks.steps(device, output / "checks"),
        fast.PART: AirbenchComparison(device, data, output).steps,
        serving.PART: ServerComparison(device, output).steps,
        publications.PART: Publications(device, data, output).steps,
    }
    steps = (step for part in parts for step in made[part]())

    def report(outcomes: list[Outcome]) -> None:
        storage.write(output / "summary.md", summary(outcomes, device_name).encode())
        if outcomes[-1].state not in ("not started", "done before"):
            print(line(outcomes[-1]), flush=True)

    limit = Limit(BEGAN, arguments.seconds, ends(parts), child.interrupted)
    outcomes = run(steps, limit, output, AT_ONCE[device], report)
    said = [airbench_table(outcomes), f"Device: {device_name}\nResults: {output}"]
    print("", *filter(None, said), conclusion(outcomes, child.interrupted.is_set()), sep="\n")
    os.close(locked)
    sys.exit(status(outcomes) or (INTERRUPTED if child.interrupted.is_set() else 0))


def _interrupt(number: int, frame: object) -> None:
    child.interrupted.set()


if __name__ == "__main__":
    main()
