"""Loading a model beside workers that serve."""

from typing import TYPE_CHECKING, Any

from .priority import at_low_priority

if TYPE_CHECKING:
    from .service import Service


def load(context: Any) -> "Service":
    """Import and set up what answers.

    Args:
        context: TorchServe's.

    Raises:
        RuntimeError: it cannot be imported.
        Exception: the model cannot be loaded.
    """
    service = at_low_priority(lambda: _load(context))
    # What it starts from now on gets this thread's priority.
    service.set_torch_threads()
    return service


def _load(context: Any) -> "Service":
    try:
        from .service import Service
    except ImportError as error:
        # TorchServe takes an ImportError for a handler of its own that is missing, and hides this.
        raise RuntimeError(f"falconet.handler cannot be imported: {error}") from error
    return Service(context)
