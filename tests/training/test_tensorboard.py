"""What TensorBoard is given; it need not be installed."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from falconet.training.tensorboard import tensorboard_writer


def test_every_number_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []
    folders: list[str] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            folders.append(folder)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None:
            pass

    stand_in = ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    write = tensorboard_writer(tmp_path)
    write({"epoch": 3, "loss": 0.5, "validation_loss": None, "learning_rate": "0.01"})
    assert folders == [str(tmp_path / "tensorboard")]
    assert written == [("loss", 0.5, 3), ("learning_rate", 0.01, 3)]


def test_without_it_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboard"):
        tensorboard_writer(tmp_path)
