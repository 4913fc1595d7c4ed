"""Serving on the device, compared with TorchServe's own handler on the same device."""

import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from falconet.model.archive import Serving

from .. import task
from ..progress import progress
from . import child
from .steps import CheckError, Figures, Findings, SkippedError, Step

if TYPE_CHECKING:
    from falconet.serving.profile import Name

    from ..rounds import Row

# `system` and `rounds` are imported where they are used: they need packages of the extra
# `benchmarks`, which the checks and the training do without.

PART = "serving"
TASKS: dict[str, Callable[[], AbstractContextManager[task.Task]]] = {
    "serving_resnet18": partial(task.resnet, int8=False),
    "serving_cifar": task.cifar,
}
SECONDS = 75.0  # of a task: two servers start, and are warmed up for ten seconds each
CONNECTIONS, ROUNDS, ROUND_SECONDS = (1, 32), 2, 2.0
# Fraction of right labels. Labels are those of float16 or the CPU's own precision, and batches of
# other sizes round differently: of 64 images with 1,000 classes, some are close to a second class.
LEAST_RIGHT = 0.9


@dataclass
class ServerComparison:
    """The two servers, for each of the tasks.

    Attributes:
        device: ``"cuda"`` or ``"cpu"``.
        folder: for logs.
        missing: why a task was skipped, which applies to the next one as well.
    """

    device: str
    folder: Path
    missing: str = field(default="", init=False)

    def steps(self) -> list[Step]:
        return [Step(name, PART, SECONDS, partial(self.run, name)) for name in TASKS]

    def run(self, name: str, seconds_left: float) -> Findings:
        """Compare the servers in a child process."""
        if self.missing:
            raise SkippedError(self.missing)
        try:
            return child.measure(name, self.device, self.folder, seconds_left)
        except SkippedError as error:
            self.missing = str(error)
            raise


def compare_servers(name: str, device: str) -> Findings:
    """Responses per second and latency of both, with one connection and with many."""
    require()
    from .. import rounds, system

    with ExitStack() as stack:
        given = stack.enter_context(TASKS[name]())
        profile: Name = "small"
        serving = Serving(precision=given.precision)
        if device == "cuda":
            given, profile, serving = given.on_gpu(), "gpu", Serving()
        ours = system.falconet(given, serving=serving, configuration=system.shipped(profile))
        stock = system.stock(given, device=device)
        systems = [stack.enter_context(each) for each in (ours, stock)]
        bars = stack.enter_context(progress())
        rows = rounds.closed(systems, CONNECTIONS, ROUNDS, ROUND_SECONDS, bars)
    best = {each: value for each, (_, value) in rounds.highest(rows).items()}
    right = {
        each.name: [right_share(row) for row in rows if row["system"] == each.name]
        for each in systems
    }
    figures: Figures = {"precision": given.precision, "throughput": best, "right_labels": right}
    figures["rows"] = rows
    if min(right[systems[0].name]) < LEAST_RIGHT:
        raise CheckError(f"expected {LEAST_RIGHT:.0%} right responses, got {right}", figures)
    # TorchServe's handler computes in float32.
    throughput = [f"{each} {value:.0f} right responses/s" for each, value in best.items()]
    return Findings(f"{'; '.join(throughput)} (ours in {given.precision})", figures)


def right_share(row: "Row") -> float:
    """Fraction of responses with the right label, in the median round."""
    return median(float(each["good"] / max(1, each["requests"])) for each in row["rounds"])


def require() -> None:
    """Make sure that both servers can be started.

    Raises:
        SkippedError: something is not installed.
    """
    needed = ("ts", "model_archiver", "psutil", "httptools")
    if missing := [name for name in needed if find_spec(name) is None]:
        raise SkippedError(
            f"expected the packages of the extra benchmarks, found no {', '.join(missing)}: pip "
            "install -e '.[benchmarks]'"
        )
    from falconet.serving.errors import ServerError
    from falconet.serving.java import find_java

    from .. import system

    try:
        find_java()
    except ServerError as error:
        raise SkippedError(str(error)) from None

    # Without a network, pip would retry for minutes.
    os.environ |= {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "5"}
    try:
        system.captum()
    except subprocess.CalledProcessError as error:
        raise SkippedError(
            f"TorchServe's image handler needs captum, which could not be installed into "
            f"{system.INSTALLED}: {error}"
        ) from None
