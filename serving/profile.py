"""How many workers and threads a server gets on a machine."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from falconet.native import available_cores

from .errors import ServerError

Name = Literal["small", "large", "gpu"]
# Up to here every core has a worker, and Java runs in between.
SMALL_CORES = 8
# Of a larger machine's cores, one in so many is left to Java.
SHARE_OF_JAVA = 8
# So that one decodes while the other has the GPU.
WORKERS_PER_GPU = 2
# More than a gateway lets in (gateway.Limits), so that it is the one to refuse.
QUEUE = 256
QUEUE_PER_WORKER = 50


@dataclass(frozen=True)
class Profile:
    """What a server takes of its machine.

    It stands behind ``config.properties``, which may say otherwise, and behind an archive's own
    ``workers`` and ``threads``.

    Attributes:
        name: what kind of machine it is for.
        workers: processes of each model, with a copy of it each; of one model that runs alone.
        threads: for computing, of each worker. More workers of one thread answer more requests a
            second than fewer of several, which answer a single one sooner.
        gpus: how many are used; 0 is none.
        netty_threads: of Java, for connections.
        queue: how many requests may wait for each model, before TorchServe refuses more.
        heap: of Java, in MB.
    """

    name: Name
    workers: int
    threads: int
    gpus: int
    netty_threads: int
    queue: int
    heap: int

    @classmethod
    def choose(cls, name: Name | Literal["auto"], cores: int, gpus: int) -> "Profile":
        """The profile of that name, or the one that fits, for a machine.

        Args:
            name: ``"auto"`` takes GPUs where there are some.
            cores: that this process may use.
            gpus: of the machine.

        Raises:
            ServerError: ``"gpu"`` where there is none.
        """
        if name == "auto":
            name = "gpu" if gpus else "small" if cores <= SMALL_CORES else "large"
        if name == "gpu":
            if not gpus:
                raise ServerError(
                    "profile gpu: expected an NVIDIA GPU, and nvidia-smi lists none; "
                    "omit --profile, or use small or large"
                )
            workers = WORKERS_PER_GPU * gpus
            threads = max(1, cores // workers)
        else:
            gpus, threads = 0, 1
            workers = cores if name == "small" else max(1, cores - max(1, cores // SHARE_OF_JAVA))
        small = name == "small"
        return cls(
            name=name,
            workers=workers,
            threads=threads,
            gpus=gpus,
            netty_threads=8 if small else 16,
            queue=max(QUEUE, QUEUE_PER_WORKER * workers),
            heap=512 if small else 2048,
        )

    @classmethod
    def of_machine(cls, name: Name | Literal["auto"] = "auto") -> "Profile":
        """For this machine. Raises as :meth:`choose` and :func:`count_gpus`."""
        gpus = count_gpus() if name in ("auto", "gpu") else 0
        return cls.choose(name, available_cores(), gpus)

    def among(self, models: int) -> "Profile":
        """What each of so many models gets: an equal share of the workers, one at least."""
        workers = share(self.workers, models)
        threads = max(1, self.workers * self.threads // (workers * models))
        return replace(self, workers=workers, threads=threads)

    def at_most(self, workers: int) -> "Profile":
        """With so many workers, if it has more; each has more threads then."""
        if workers >= self.workers:
            return self
        workers = max(1, workers)
        return replace(self, workers=workers, threads=self.workers * self.threads // workers)

    def properties(self) -> Mapping[str, str]:
        """Lines of ``config.properties``, by key."""
        return {
            "default_workers_per_model": str(self.workers),
            "number_of_gpu": str(self.gpus),
            "number_of_netty_threads": str(self.netty_threads),
            "job_queue_size": str(self.queue),
        }


def share(workers: int, models: int) -> int:
    """Of workers, one of so many models'; to the nearest number, so that all have about as many."""
    return max(1, round(workers / models))


def count_gpus() -> int:
    """That TorchServe would use: those of nvidia-smi, or of CUDA_VISIBLE_DEVICES among them.

    Raises:
        ServerError: nvidia-smi hangs, as it does where a driver is stuck.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        found = subprocess.run(
            [program, "--list-gpus"], capture_output=True, text=True, timeout=30, check=False
        )
    except subprocess.TimeoutExpired:
        raise ServerError(
            f"{program} does not answer; repair the driver, or use --profile small or large"
        ) from None
    if found.returncode != 0:
        return 0
    gpus = sum(line.startswith("GPU ") for line in found.stdout.splitlines())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    return min(gpus, len([each for each in visible.split(",") if each.strip() not in ("", "-1")]))
