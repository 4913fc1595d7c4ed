"""Serving on the device, beside TorchServe's own handler on the same one."""

import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING

from falconet.model.archive import Serving

from .. import task
from ..progress import progress
from .steps import CheckError, Found, MissingError, Step

if TYPE_CHECKING:
    from falconet.serving.profile import Name

    from ..rounds import Row

# `system` and `rounds` are imported where they are used: they need packages of the extra
# `benchmarks`, which the checks and the runs do without.

PART = "serving"
TASKS = {"resnet18": partial(task.resnet, int8=False), "cifar": task.cifar}
SECONDS = 75.0  # of a task: two servers start, and are warmed up for ten seconds each
CONNECTIONS, ROUNDS, ROUND_SECONDS = (1, 32), 2, 2.0
LEAST_RIGHT = 0.99  # of the labels: batches of other sizes round differently


@dataclass(frozen=True)
class Beside:
    """The two servers.

    Attributes:
        device: ``"cuda"`` or ``"cpu"``.
    """

    device: str

    def steps(self) -> list[Step]:
        return [
            Step(f"serving_{name}", PART, SECONDS, partial(self.run, name), repeated=False)
            for name in TASKS
        ]

    def run(self, name: str, left: float) -> Found:
        """Responses per second and latency of both, with one connection and with many."""
        require()
        from .. import rounds, system

        with ExitStack() as stack:
            given = stack.enter_context(TASKS[name]())
            profile: Name = "small"
            if self.device == "cuda":
                given, profile = given.on_gpu(), "gpu"
            serving = Serving(precision=given.precision)
            ours = system.falconet(given, serving=serving, configuration=system.shipped(profile))
            stock = system.stock(given, device=self.device)
            systems = [stack.enter_context(each) for each in (ours, stock)]
            bars = stack.enter_context(progress())
            rows = rounds.closed(systems, CONNECTIONS, ROUNDS, ROUND_SECONDS, bars)
        found: Found = {"precision": given.precision, "rows": rows}
        best = {each: value for each, (_, value) in rounds.highest(rows).items()}
        right = [share(row) for row in rows if row["system"] == systems[0].name]
        found |= {"throughput": best, "right_labels": right}
        if min(right) < LEAST_RIGHT:
            raise CheckError(f"expected {LEAST_RIGHT:.0%} right responses, got {right}", found)
        return found


def share(row: "Row") -> float:
    """Of right responses, at the median round."""
    return median(float(each["good"] / max(1, each["requests"])) for each in row["rounds"])


def require() -> None:
    """Make sure that both servers can be started.

    Raises:
        MissingError: something is not installed.
    """
    missing = [] if shutil.which("java") else ["java"]
    needed = ("ts", "model_archiver", "psutil", "httptools")
    missing += [name for name in needed if find_spec(name) is None]
    if missing:
        raise MissingError(f"expected TorchServe and Java, found no {', '.join(missing)}")
    from .. import system

    try:
        system.captum()
    except subprocess.CalledProcessError as error:
        raise MissingError(
            f"TorchServe's image handler needs captum, which could not be installed into "
            f"{system.INSTALLED}: {error}"
        ) from None
