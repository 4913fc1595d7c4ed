"""The steps of `make gpu`: what runs when, what is kept, and one of its checks on the CPU."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import child, estimate, fast, images, rows
from benchmarks.gpu.checks import Checks, compare
from benchmarks.gpu.fast import Fast
from benchmarks.gpu.rows import Rows, chains
from benchmarks.gpu.steps import (
    CheckError,
    Found,
    MissingError,
    Outcome,
    Step,
    StoppedError,
    load,
    run,
    status,
)
from falconet.training import recipes
from falconet.training.results import Measured, Result

SHARES = {"first": 0.5, "second": 1.0}


class Clock:
    """One that steps set forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def step(self, name: str, part: str, expected: float, taken: float, **options: bool) -> Step:
        def work(left: float) -> Found:
            self.now += taken
            return {"left": left}

        return Step(name, part, expected, work, **options)


def raising(error: Exception) -> Callable[[float], Found]:
    def work(left: float) -> Found:
        raise error

    return work


def test_a_step_starts_only_if_it_ends_in_time(tmp_path: Path) -> None:
    clock = Clock()
    steps = [
        clock.step("a", "first", 20, 30),
        clock.step("b", "first", 30, 1),  # 50 - 30 = 20 are left to the part
        clock.step("c", "first", 20, 10),
        clock.step("d", "second", 60, 50),
        clock.step("e", "second", 11, 1),
    ]
    outcomes = run(steps, 100, SHARES, tmp_path, "cpu", clock=clock)
    states = {each.name: each.state for each in outcomes}
    assert states == {
        "a": "passed",
        "b": "no time",
        "c": "passed",
        "d": "passed",
        "e": "no time",
    }
    assert [each.found["left"] for each in outcomes if each.found] == [50, 20, 60]
    assert outcomes[1].message == "expected 30 s, 20 are left"
    assert status(outcomes) == 0
    assert sorted(path.stem for path in (tmp_path / "steps").iterdir()) == ["a", "c", "d"]


def test_what_fails_stops_nothing_else_and_is_written(tmp_path: Path) -> None:
    clock = Clock()
    steps = [
        Step("wrong", "first", 1, raising(CheckError("expected 1, got 2", {"value": 2}))),
        Step("broken", "first", 1, raising(KeyError("x"))),
        Step("missing", "first", 1, raising(MissingError("no Java"))),
        Step("stopped", "first", 1, raising(StoppedError("after 9 s"))),
        clock.step("right", "second", 1, 1),
    ]
    outcomes = run(steps, 100, SHARES, tmp_path, "cpu", clock=clock)
    states = [each.state for each in outcomes]
    assert states == ["failed", "error", "not here", "stopped", "passed"]
    assert [load(tmp_path, each.name) for each in outcomes] == outcomes
    assert outcomes[0].found == {"value": 2}
    assert "KeyError" in outcomes[1].found["traceback"]
    assert status(outcomes) == status(outcomes[:1]) == status(outcomes[1:2]) == 1
    assert status(outcomes[2:]) == 0
    page = gpu.summary(outcomes, "Some GPU")
    assert "| first | wrong | **failed** | 1 s | 0.0 s | expected 1, got 2 |" in page


def test_results_are_written_before_the_next_step(tmp_path: Path) -> None:
    clock = Clock()
    steps = [clock.step("a", "first", 1, 1), Step("b", "first", 1, raising(SystemExit()))]
    with pytest.raises(SystemExit):
        run(steps, 100, SHARES, tmp_path, "cpu", clock=clock)
    assert load(tmp_path, "a") is not None
    assert load(tmp_path, "b") is None


def test_only_what_passed_on_the_same_device_is_kept(tmp_path: Path) -> None:
    clock = Clock()
    steps = [
        clock.step("check", "first", 1, 1),
        clock.step("timed", "first", 1, 1, repeated=False),
        Step("failed", "first", 1, raising(CheckError("", {})), repeated=False),
    ]
    run(steps, 100, SHARES, tmp_path, "one GPU", clock=clock)
    again = run(steps, 100, SHARES, tmp_path, "one GPU", clock=clock)
    assert [each.state for each in again] == ["passed", "kept", "failed"]
    other = run(steps, 100, SHARES, tmp_path, "another GPU", clock=clock)
    assert [each.state for each in other] == ["passed", "passed", "failed"]


def test_one_check_passes_on_this_cpu_and_can_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Checks("cpu", tmp_path)
    assert check.computes_in_float32(9)["relative_error"] < 1e-5
    with pytest.raises(MissingError, match="only batches for a GPU"):
        check.pins_memory(9)
    from falconet.handler.network import Network

    def rounded(path: Path, precision: str, device: str) -> Network:
        return Network(path, "bfloat16", device)

    monkeypatch.setattr("benchmarks.gpu.checks.Network", rounded)
    with pytest.raises(CheckError, match="expected an error of at most 1e-05, got"):
        check.computes_in_float32(9)


def test_classes_may_differ_only_where_they_are_close() -> None:
    expected = torch.tensor([[5.0, 0.0]] * 199 + [[1.0, 0.99]])
    close, far = expected.clone(), expected.clone()
    close[-1] = torch.tensor([0.99, 1.0])
    far[0] = torch.tensor([0.0, 5.0])
    assert compare(expected, close)["same_classes"]
    assert compare(expected, close)["same"] == 199
    assert not compare(expected, far)["same_classes"]
    assert not compare(expected.flip(1), expected)["same_classes"]


def test_a_process_that_takes_too_long_is_interrupted(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="after 1 s; the next call continues it"):
        child.python("http.server", ["0", "--bind", "127.0.0.1"], tmp_path / "log", 1.0)
    with pytest.raises(RuntimeError, match=r"benchmarks.gpu.row ended with 1: .*not enough"):
        child.python("benchmarks.gpu.row", [], tmp_path / "row.log")


def test_recipes_that_go_on_with_each_other_are_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "epoch", lambda recipe, device: 1.0)
    names = [[each.name for each in chain] for chain in chains(recipes.load_all())]
    assert ["episode2_100", "episode2_150", "episode2_200"] in names
    assert ["vgg3_final_250", "vgg3_final_275"] in names
    assert sorted(name for chain in names for name in chain) == recipes.names()
    steps = Rows("cuda", None, tmp_path).steps()
    assert {"fast94", "episode2_150"}.isdisjoint(each.name for each in steps)
    with pytest.raises(MissingError, match="expected CIFAR-10 in --data"):
        steps[0].run(9)


def one(name: str, epochs: int, seed: int = 0, device: str = "cpu") -> Result:
    environment = {"device": device, "processor": "Some", "cpu_threads": 1}
    run = Measured(seed, 0.9, 0.5, 10000, 50000, None, None, epochs, 2.0 * epochs, environment)
    return Result(name, {}, (run,))


def test_rows_are_not_run_twice_and_epochs_that_are_done_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, started = Rows("cpu", "DIR", tmp_path), []

    def train(module: str, arguments: list[str], log: Path, timeout: float) -> None:
        started.append(arguments[0])
        one(arguments[0], 10).save(given.results)

    monkeypatch.setattr(rows, "python", train)
    monkeypatch.setattr(estimate, "epoch", lambda recipe, device: 1.0)
    chain = [recipes.load(f"episode2_{epochs}") for epochs in (100, 150, 200)]
    # 20 s for the start of each process: the second would take 170 s, as nothing is in its folder.
    with pytest.raises(StoppedError, match="episode2_100 done, episode2_150 not begun"):
        given.run(chain, 160)
    weights = tmp_path / "runs" / "episode2_100-0" / "weights.pt"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert given.run(chain[:2], 80)["episode2_150"]["accuracy"] == [0.9]
    assert started == ["episode2_100", "episode2_150"]
    (step,) = (each for each in given.steps() if each.name == "episode2_100")
    assert step.seconds == 220  # of the third


def test_estimates_are_of_the_same_kind_of_device(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipes.load("vgg3")
    known = one("vgg3", 10, device="Some GPU")
    monkeypatch.setattr(Result, "load", lambda name: known)
    assert estimate.epoch(recipe, "cuda") == 2.0
    guessed = estimate.epoch(recipe, "cpu")
    assert guessed > 10
    assert estimate.epoch(replace(recipe, batch_size=32), "cpu") > guessed
    then = known.runs[0].environment | {"then": [{"device": "cpu"}]}
    known = Result("vgg3", {}, (replace(known.runs[0], environment=then),))
    assert estimate.epoch(recipe, "cuda") != 2.0


def test_fast_runs_stand_beside_what_is_published(tmp_path: Path) -> None:
    outcomes = [
        Outcome(
            f"fast94-{seed}",
            fast.PART,
            "passed",
            9.0,
            8.0,
            "Some GPU",
            "",
            {"recipe": "fast94", "accuracy": 0.94 + seed / 1000, "seconds": 6.0 + seed},
        )
        for seed in range(2)
    ]
    page = fast.beside_airbench(outcomes)
    ours = "94.05 % ± 0.07 (n = 2), fewer than 5 runs | 6.5 s (6.0 to 7.0)"
    assert f"| `fast94` | {ours} | airbench94 | 94.01 % | 3.83 s |" in page
    assert "fast95" not in page
    assert len(Fast("cuda", "Some GPU", None, tmp_path).steps()) == 16
    assert fast.beside_airbench([]) == ""


def test_compiling_pays_from_the_epoch_that_has_saved_its_time() -> None:
    plain = {"first_epoch": 3.0, "epoch": 2.0}
    compiled = {"first_epoch": 33.0, "epoch": 1.0}
    # 31 s longer in the first epoch besides its training, and 1 s shorter in each.
    assert fast.pays_from(plain, compiled) == 32
    assert fast.pays_from(compiled, plain) is None


def test_a_run_is_trained_and_its_result_joins_others(tmp_path: Path) -> None:
    data, results = images.write(tmp_path / "data"), tmp_path / "results"
    replace(one("lenet", 1, seed=1), changed={"epochs": 1}).save(results)
    places = [str(data), str(tmp_path / "runs"), str(results)]
    log = tmp_path / "log"
    child.python("benchmarks.gpu.row", ["lenet", "0", *places, "epochs=1"], log, 100)
    result = Result.load("lenet", results)
    assert result is not None
    assert [(each.seed, each.images) for each in result.runs] == [(0, 128), (1, 10000)]


def test_without_a_gpu_the_command_says_so(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, "-m", "benchmarks.gpu", "--output", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "expected an NVIDIA GPU, torch finds none" in finished.stderr
