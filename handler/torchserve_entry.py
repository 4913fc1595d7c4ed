"""The file TorchServe imports from an archive, under this name alone.

It holds no logic, so that an archive runs the handler and the extension of one and the same
installed package.
"""

from typing import TYPE_CHECKING, Any

try:
    from falconet.handler.loading import load
except ImportError as error:
    # TorchServe takes an ImportError for a handler of its own that is missing, and hides this one.
    raise RuntimeError(
        f"this archive needs the package falconet in TorchServe's Python environment: {error}"
    ) from error

if TYPE_CHECKING:
    from falconet.handler.service import Service

_service: "Service | None" = None


def handle(data: Any, context: Any) -> list[bytes] | None:
    """Load the model when called without data, as TorchServe first does; then answer batches."""
    global _service
    if data is None:
        _service = load(context)
        return None
    assert _service is not None
    return _service.handle(data, context)
