"""A training step, launched on a GPU as one CUDA graph."""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # steps in which libraries choose algorithms and allocate workspaces


class CapturedStep:
    """A training step that runs a few times, is then recorded as a CUDA graph, and is replayed.

    A step of a small network has some hundred short kernels, and launching each takes longer than
    running it. Tensors that the step reads besides its arguments must keep their addresses. Random
    numbers come from torch's default generator, whose seed may be set between steps.

    Args:
        step: launches the same kernels each time, and never synchronizes with the GPU.
    """

    def __init__(self, step: Callable[..., None]) -> None:
        self._step = step
        self._steps = 0
        self._graph = torch.cuda.CUDAGraph()
        self._arguments: list[Tensor] = []

    def __call__(self, *arguments: Tensor) -> None:
        if self._steps < WARM_UP:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._step(*arguments)
            torch.cuda.current_stream().wait_stream(stream)
        else:
            if self._steps == WARM_UP:
                self._arguments = [argument.clone() for argument in arguments]
                with torch.cuda.graph(self._graph):
                    self._step(*self._arguments)
            for kept, argument in zip(self._arguments, arguments, strict=True):
                kept.copy_(argument)
            self._graph.replay()
        self._steps += 1
