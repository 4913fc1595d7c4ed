"""Training of one network in the processes that torchrun starts, or in a single process."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: index of this process, from 0; process 0 writes the files.
        count: number of processes on all machines.
        device: of this process.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def main(self) -> bool:
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """The part of a batch for this process; all processes draw the same batch."""
        return batch[self.rank :: self.count]

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network to train, whose gradients are averaged over the processes."""
        if self.count == 1:
            return network
        return DistributedDataParallel(network)

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.count > 1:
            dist.barrier()

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over the processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def from_main(self, value: Value) -> Value:
        """The value of the main process."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, 0)
        return values[0]


def require_one(doing: str) -> None:
    """Make sure that this is not one of several processes.

    Raises:
        ValueError: it is.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(f"{doing} runs in one process; torchrun is for one falconet train")


@contextmanager
def join() -> Iterator[Processes]:
    """Join the process group, over NCCL on GPUs and gloo on CPUs, and leave it at the end.

    Reads the variables that torchrun sets: RANK, WORLD_SIZE, LOCAL_RANK and the rendezvous address.
    Without those this is the only process.
    """
    cuda = torch.cuda.is_available()
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    local = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Processes(dist.get_rank(), count, device)
        dist.barrier()  # wait for the main process to write its files
    finally:
        # DistributedDataParallel is in reference cycles, and must not outlive its process group.
        gc.collect()
        dist.destroy_process_group()
