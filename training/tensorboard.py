"""The metrics of a run for TensorBoard, if it is installed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def tensorboard_writer(folder: Path) -> Callable[[dict[str, Any]], None]:
    """A function that also writes each row of ``metrics.csv`` into the folder's ``tensorboard/``.

    Raises:
        ModuleNotFoundError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ModuleNotFoundError(
            "--tensorboard needs TensorBoard: pip install tensorboard"
        ) from error
    writer = SummaryWriter(str(folder / "tensorboard"))

    def write(row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name != "epoch" and value is not None:
                writer.add_scalar(name, float(value), row["epoch"])
        writer.flush()

    return write
