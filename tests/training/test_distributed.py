"""Two processes over gloo, as torchrun starts them, against one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from falconet.model.weights import Weights
from falconet.training import recipes
from falconet.training.distributed import Processes
from falconet.training.run import Run

# Without batch norm, whose statistics are each process' own, and without dropout, whose chance is.
RECIPE = ["lenet", "batch_size=30", "epochs=3", "learning_rate=0.01", "precision=float32"]
SPLIT = ["hold_out=stratified", "validation=60", "keep=last"]
AUGMENTED = ["rotate=10", "shift=0.1", "flip=random", "translate=2", "cutout=6"]


def launch(
    processes: int, colors: Path, output: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "falconet.cli", "train", *RECIPE]
    command += [*words, "--data", str(colors), "--output", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=200
    )


def test_two_processes_train_as_one(colors: Path, tmp_path: Path) -> None:
    rows = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        finished = launch(processes, colors, folder, *SPLIT, *AUGMENTED)
        assert finished.returncode == 0, finished.stderr
        rows[processes] = Run(folder).rows()
    assert len(rows[1]) == len(rows[2]) == 3
    for one, two in zip(rows[1], rows[2], strict=True):
        for name in ("loss", "validation_loss"):
            assert float(two[name]) == pytest.approx(float(one[name]), abs=2e-4), name
        assert float(two["accuracy"]) == pytest.approx(float(one["accuracy"]), abs=0.006)
    assert float(rows[2][-1]["loss"]) < float(rows[2][0]["loss"])
    recipes.load("lenet")  # registers its network
    one, two = (Weights.load(tmp_path / n / "weights.pt") for n in ("1", "2"))
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(two.network.state_dict()[name], value, atol=1e-3, rtol=1e-2)
    assert two.card["environment"]["processes"] == 2


def test_a_batch_that_cannot_be_shared_is_an_error(colors: Path, tmp_path: Path) -> None:
    finished = launch(2, colors, tmp_path / "run", *SPLIT, "batch_size=31")
    assert finished.returncode != 0
    assert "expected a batch_size that 2 processes can share evenly, got 31" in finished.stderr


def test_the_shares_of_a_batch_are_all_of_it() -> None:
    batch = torch.arange(12)
    shares = [Processes(rank, 3, torch.device("cpu")).share(batch) for rank in range(3)]
    assert {len(share) for share in shares} == {4}
    assert sorted(torch.cat(shares).tolist()) == list(range(12))
