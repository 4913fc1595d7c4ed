"""Seeing which operators a model calls."""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Calls(TorchDispatchMode):
    """Within it, a function is told of each operator that has been called.

    Args:
        called: is given the operator, its arguments, and the seconds that it took.
    """

    def __init__(self, called: Callable[[Any, Sequence[Any], float], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._called = called

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Skipping imports the compiler first: 3 of the 6 s that a worker's start took.
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        began = perf_counter()
        result = func(*args, **(kwargs or {}))
        took = perf_counter() - began
        self._called(func.overloadpacket, args, took)  # type: ignore[attr-defined]
        return result
