"""Two processes over gloo, as torchrun starts them, against one."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from falconet.model.weights import Weights
from falconet.training import recipes
from falconet.training.distributed import Processes
from falconet.training.run import Run
from falconet.training.train import train

# Without batch norm, whose statistics are each process' own, and without dropout, whose chance is.
FIELDS = ["batch_size=30", "epochs=3", "learning_rate=0.01", "precision=float32"]
FIELDS += ["hold_out=stratified", "validation=60", "keep=last"]
FIELDS += ["rotate=10", "shift=0.1", "flip=random", "translate=2", "cutout=6"]


@pytest.mark.long
def test_two_processes_train_as_one(colors: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "falconet.cli", "train", "lenet", *FIELDS]
    command += ["--data", str(colors), "--output", str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    finished = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert finished.returncode == 0, finished.stderr
    train(recipes.load("lenet").override(FIELDS), colors, tmp_path / "one")
    rows = {count: Run(tmp_path / count).rows() for count in ("one", "two")}
    assert len(rows["one"]) == len(rows["two"]) == 3
    for one, two in zip(rows["one"], rows["two"], strict=True):
        for name in ("loss", "validation_loss"):
            assert float(two[name]) == pytest.approx(float(one[name]), abs=2e-4), name
        assert float(two["accuracy"]) == pytest.approx(float(one["accuracy"]), abs=0.006)
    assert float(rows["two"][-1]["loss"]) < float(rows["two"][0]["loss"])
    one, two = (Weights.load(tmp_path / count / "weights.pt") for count in ("one", "two"))
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(two.network.state_dict()[name], value, atol=1e-3, rtol=1e-2)
    assert two.card["environment"]["processes"] == 2


def test_a_batch_that_cannot_be_shared_is_an_error(
    colors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the processes wait for each other, as this one, which has no other, shows."""
    two = Processes(0, 2, torch.device("cpu"))
    monkeypatch.setattr("falconet.training.distributed.join", lambda: nullcontext(two))
    recipe = recipes.load("lenet").override([*FIELDS, "batch_size=31"])
    with pytest.raises(ValueError, match="that 2 processes can share evenly, got 31"):
        train(recipe, colors, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_shares_of_a_batch_are_all_of_it() -> None:
    batch = torch.arange(12)
    shares = [Processes(rank, 3, torch.device("cpu")).share(batch) for rank in range(3)]
    assert {len(share) for share in shares} == {4}
    assert sorted(torch.cat(shares).tolist()) == list(range(12))
