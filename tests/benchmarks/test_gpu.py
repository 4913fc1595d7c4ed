"""The steps of `make gpu`: which run when, which are kept, and how they are stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from threading import Barrier, Event, Timer

import psutil
import pytest
import torch

from benchmarks import document
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import checks, child, estimate, fast, images, publications, serving
from benchmarks.gpu.fast import AirbenchComparison
from benchmarks.gpu.logits import compare
from benchmarks.gpu.publications import Publications, chains
from benchmarks.gpu.serving import ServerComparison
from benchmarks.gpu.steps import (
    CheckError,
    Findings,
    Limit,
    Outcome,
    SkippedError,
    Step,
    StoppedError,
    load,
    run,
    status,
)
from falconet.model.weights import Weights
from falconet.training import recipes
from falconet.training.results import Measured, Result
from falconet.training.run import Run

ENDS = {"first": 0.5, "second": 1.0}


class Clock:
    """One that steps set forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def limit(self, interrupted: Event | None = None) -> Limit:
        return Limit(self.now, 100, ENDS, interrupted or Event(), self)

    def step(
        self, name: str, part: str, expected: float, taken: float, minimum: float | None = None
    ) -> Step:
        def work(seconds_left: float) -> Findings:
            self.now += taken
            return Findings("fine", {"left": seconds_left})

        return Step(name, part, expected, work, minimum=minimum)


def raising(error: BaseException) -> Callable[[float], Findings]:
    def work(seconds_left: float) -> Findings:
        raise error

    return work


def states(outcomes: list[Outcome]) -> dict[str, str]:
    return {each.name: each.state for each in outcomes}


def test_a_step_starts_only_if_the_time_is_enough(tmp_path: Path) -> None:
    clock = Clock()
    steps = [
        clock.step("a", "first", 20, 30),
        clock.step("b", "first", 30, 1),  # 50 - 30 = 20 are left to the part
        clock.step("c", "first", 20, 10),
        clock.step("d", "second", 60, 50),
        clock.step("e", "second", 11, 1),
        clock.step("f", "second", 999, 1, minimum=10),
    ]
    outcomes = run(steps, clock.limit(), tmp_path)
    assert states(outcomes) == {
        **dict.fromkeys("acdf", "passed"),
        **dict.fromkeys("be", "not started"),
    }
    assert [each.figures["left"] for each in outcomes if each.figures] == [50, 20, 60, 10]
    assert outcomes[1].message == "needs 30 s, 20 s are left"
    assert status(outcomes) == 0
    assert sorted(path.stem for path in (tmp_path / "steps").iterdir()) == ["a", "c", "d", "f"]


def test_what_fails_stops_nothing_else_and_is_written(tmp_path: Path) -> None:
    clock = Clock()
    steps = [
        Step("wrong", "first", 1, raising(CheckError("expected 1, got 2", {"value": 2}))),
        Step("broken", "first", 1, raising(KeyError("x"))),
        Step("missing", "first", 1, raising(SkippedError("no Java"))),
        Step("stopped", "first", 1, raising(StoppedError("after 9 s")), minimum=1),
        Step("again", "first", 1, raising(StoppedError("after 9 s"))),
        clock.step("right", "second", 1, 1),
        clock.step("late", "second", 200, 1),
    ]
    outcomes = run(steps, clock.limit(), tmp_path)
    assert list(states(outcomes).values()) == [
        *("failed", "error", "skipped", "stopped", "stopped", "passed", "not started"),
    ]
    assert [load(tmp_path, each.name) for each in outcomes[:-1]] == outcomes[:-1]
    assert outcomes[0].figures == {"value": 2}
    assert "KeyError" in outcomes[1].figures["traceback"]
    assert outcomes[3].message == "after 9 s; the next call continues it"
    assert outcomes[4].message == "after 9 s; the next call starts it again"
    assert status(outcomes) == status(outcomes[:1]) == status(outcomes[1:2]) == 1
    assert status(outcomes[2:]) == 0
    page = gpu.summary(outcomes, "Some GPU")
    assert "| first | wrong | **failed** | 1 s | 0.0 s | expected 1, got 2 |" in page
    assert "Not started:\n\n- second, late: needs 200 s, 99 s are left\n" in page
    assert "|" not in gpu.summary(outcomes[-1:], "Some GPU")
    assert gpu.conclusion(outcomes, interrupted=False).splitlines() == [
        "Stopped, because the time was too short: 2 steps (2 first).",
        "Not started, because the time was too short: 1 step (1 second).",
        "Run the command again to continue.",
    ]
    assert gpu.conclusion(outcomes[:3], interrupted=False) == "All steps are done."


def test_outcomes_are_written_before_the_next_step(tmp_path: Path) -> None:
    clock = Clock()
    steps = [clock.step("a", "first", 1, 1), Step("b", "first", 1, raising(SystemExit()))]
    with pytest.raises(SystemExit):
        run(steps, clock.limit(), tmp_path)
    assert load(tmp_path, "a") is not None
    assert load(tmp_path, "b") is None


def test_only_what_passed_is_not_run_again(tmp_path: Path) -> None:
    clock = Clock()
    steps = [
        replace(clock.step("check", "first", 1, 1), always_run=True),
        clock.step("timed", "first", 1, 1),
        clock.step("damaged", "first", 1, 1),
        Step("failed", "first", 1, raising(CheckError("", {}))),
    ]
    run(steps, clock.limit(), tmp_path)
    (tmp_path / "steps" / "damaged.json").write_text("{")
    again = run(steps, clock.limit(), tmp_path)
    assert list(states(again).values()) == ["passed", "done before", "passed", "failed"]
    assert again[1].figures == {"left": 49}


def test_steps_of_a_part_run_at_once(tmp_path: Path) -> None:
    meeting, reported = Barrier(2), []

    def meet(seconds_left: float) -> Findings:
        meeting.wait(5)
        return Findings("", {})

    steps = [Step(name, "first", 1, meet) for name in "ab"]
    limit = Limit(time.monotonic(), 100, ENDS)
    outcomes = run(
        steps, limit, tmp_path, {"first": 2}, lambda found: reported.append(found[-1].name)
    )
    assert states(outcomes) == {"a": "passed", "b": "passed"}
    assert sorted(reported) == ["a", "b"]


def test_nothing_starts_after_an_interrupt(tmp_path: Path) -> None:
    clock, interrupted = Clock(), Event()

    def work(seconds_left: float) -> Findings:
        interrupted.set()
        raise StoppedError("stopped after 3 s")

    steps = [Step("a", "first", 1, work), clock.step("b", "second", 0, 1, minimum=0)]
    outcomes = run(steps, clock.limit(interrupted), tmp_path)
    assert states(outcomes) == {"a": "stopped", "b": "not started"}
    assert "because the command was stopped: 1 step (1 second)" in gpu.conclusion(outcomes, True)


def test_the_last_part_ends_with_the_time() -> None:
    assert gpu.ends(list(gpu.ENDS)) == gpu.ENDS
    assert gpu.ends(["checks", "fast", "serving"]) == {"checks": 1, "fast": 0.75, "serving": 1}
    assert gpu.ends(["fast"]) == {"fast": 1.0}


def test_a_process_that_takes_too_long_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    with pytest.raises(StoppedError, match="stopped after 1 s"):
        child.python("http.server", ["0", "--bind", "127.0.0.1"], log, 1.0)
    with pytest.raises(RuntimeError, match=r"no_module ended with 1: .*No module named"):
        child.python("benchmarks.gpu.no_module", [], tmp_path / "other.log", 60)
    monkeypatch.setattr(child, "interrupted", stop := Event())
    Timer(0.5, stop.set).start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        child.python("http.server", ["0", "--bind", "127.0.0.1"], log, 60.0)
    assert time.monotonic() - began < 30


@pytest.mark.long
def test_all_descendants_of_a_process_that_does_not_end_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = tmp_path / "stubborn.py"
    stubborn.write_text(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "p = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(300)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(child, "GRACE", 0.5)
    with pytest.raises(StoppedError):
        child.python("stubborn", [], tmp_path / "log", 2.0)
    pid = int((tmp_path / "log").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)


def test_the_check_of_float32_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = checks.Checks("cpu", tmp_path)
    assert check.computes_in_float32().figures["relative_error"] < 1e-5
    from falconet.handler.network import Network

    def rounded(path: Path, precision: str, device: str) -> Network:
        return Network(path, "bfloat16", device)

    monkeypatch.setattr(checks, "Network", rounded)
    with pytest.raises(CheckError, match="expected an error of at most 1e-05, got"):
        check.computes_in_float32()


def test_the_check_of_classes_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.eye(10)
    given = iter([right, right, right.flip(1), right])
    monkeypatch.setattr(checks, "logits", lambda classifier: next(given))
    with pytest.raises(CheckError, match=r"got others in \['bfloat16: bfloat16'\] and 0"):
        checks.Checks("cpu", tmp_path).serves_same_classes()


def test_classes_may_differ_only_where_they_are_close() -> None:
    expected = torch.tensor([[5.0, 0.0]] * 199 + [[1.0, 0.99]])
    close, far = expected.clone(), expected.clone()
    close[-1] = torch.tensor([0.99, 1.0])
    far[0] = torch.tensor([0.0, 5.0])
    assert compare(expected, close)["same_classes"]
    assert compare(expected, close)["same"] == 199
    assert not compare(expected, far)["same_classes"]
    assert not compare(expected.flip(1), expected)["same_classes"]


def test_workers_have_to_work_at_the_same_time_and_rightly() -> None:
    from benchmarks.gpu.workers import Work, together

    right = torch.eye(10)
    first = Work(1.0, 3.0, 4, right)
    found = together(right, [first, Work(2.0, 4.0, 2, right)])
    assert found.figures["seconds_together"] == 1
    assert found.summary == "20 and 10 images/s at the same time"
    with pytest.raises(CheckError, match="at the same time, got one after another"):
        together(right, [first, Work(3.5, 5.5, 4, right)])
    with pytest.raises(CheckError, match="expected the same classes"):
        together(right, [first, Work(1.0, 3.0, 4, right.flip(1))])


@pytest.mark.long
def test_runs_on_two_devices_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    monkeypatch.setattr(checks, "SAME", (*checks.SAME, "epochs=2"))
    folders = [tmp_path / name for name in ("gpu", "cpu")]
    for folder in folders:
        checks.Checks("cpu", folder).train_alike()
    here, cpu = (Run(folder / "alike-cpu") for folder in folders)
    with pytest.raises(CheckError, match=r"a GPU and on the CPU, got \['cpu', 'cpu'\]"):
        checks.compare_runs(here, cpu)
    environment = json.loads(here.environment_file.read_text())
    here.environment_file.write_text(json.dumps(environment | {"device": "Some GPU"}))
    assert checks.compare_runs(here, cpu).figures["weight_error"] == 0
    monkeypatch.setattr(checks, "SAME", (*checks.SAME, "learning_rate=0.0105"))
    checks.Checks("cpu", tmp_path / "cpu").train_alike()
    with pytest.raises(CheckError, match=r"expected falling losses within 0\.001 of the CPU's"):
        checks.compare_runs(here, cpu)


@pytest.mark.long
def test_the_check_of_resumed_runs_can_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    check = checks.Checks("cpu", tmp_path)
    monkeypatch.setattr(checks, "RESUMED", (*checks.RESUMED, "epochs=2"))
    read, changes = checks.state, iter([0.0, 1e-3])

    def changed(weights: Weights | None) -> dict[str, torch.Tensor]:
        first, *others = read(weights).items()
        return {first[0]: first[1] + next(changes), **dict(others)}

    monkeypatch.setattr(checks, "state", changed)
    with pytest.raises(CheckError, match="got 1 tensors that differ, after 1"):
        check.resumes_bit_for_bit()


def test_a_check_that_hangs_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*arguments: object) -> Findings:
        raise StoppedError("stopped after 120 s")

    monkeypatch.setattr(child, "measure", hang)
    found = {step.name: step for step in checks.steps("cpu", tmp_path)}
    with pytest.raises(CheckError, match="expected an end within 120 s, got none"):
        found["two_workers"].run(200)
    with pytest.raises(StoppedError):
        found["two_workers"].run(20)
    with pytest.raises(SkippedError, match="only batches for a GPU"):
        found["pins_memory"].run(20)


def test_recipes_that_go_on_with_each_other_are_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "multiply_adds", lambda name: 10**6)
    names = [[each.name for each in chain] for chain in chains(recipes.load_all())]
    assert ["episode2_100", "episode2_150", "episode2_200"] in names
    assert ["vgg3_final_250", "vgg3_final_275"] in names
    assert sorted(name for chain in names for name in chain) == recipes.names()
    steps = Publications("cuda", "DIR", tmp_path).steps()
    assert {"fast94", "episode2_150"}.isdisjoint(each.name for each in steps)


def one(name: str, epochs: int, seed: int = 0, device: str = "cpu") -> Result:
    environment = {"device": device, "processor": "Some", "cpu_threads": 1}
    run = Measured(seed, 0.9, 0.5, 10000, 50000, None, None, epochs, 2.0 * epochs, environment)
    return Result(name, {}, (run,))


def write_epochs(run: Run, epochs: int, seconds: float = 2.0) -> None:
    run.folder.mkdir(parents=True)
    lines = [f"{epoch + 1},{seconds}" for epoch in range(epochs)]
    run.metrics.write_text("\n".join(["epoch,seconds", *lines]))


def test_publications_are_not_run_twice_and_are_ordered_by_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given, started = Publications("cpu", "DIR", tmp_path), []

    def train(module: str, arguments: list[str], log: Path, seconds_left: float) -> None:
        started.append(arguments[0])
        one(arguments[0], 10).save(given.results)

    monkeypatch.setattr(publications, "python", train)
    monkeypatch.setattr(estimate, "multiply_adds", lambda name: 10**6)
    monkeypatch.setattr(estimate, "epoch", lambda recipe, device, run: 1.0)
    chain = [recipes.load(f"episode2_{epochs}") for epochs in (100, 150, 200)]
    with pytest.raises(StoppedError, match=r"episode2_100 90\.00 %.*; episode2_150 not started"):
        given.run(chain, 15)
    assert "episode2_150 90.00 %" in given.run(chain[:2], 80).summary
    assert started == ["episode2_100", "episode2_150"]
    (step,) = (each for each in given.steps() if each.name == "episode2_100")
    assert step.seconds == 15 + 50  # of the third, which goes on with the second
    assert step.minimum == 20

    write_epochs(Run(tmp_path / "runs" / "wrn-42"), recipes.load("wrn").epochs - 1)
    assert given.steps()[0].name == "wrn"  # without a result, and an epoch is left
    (given.results / "episode2_100.json").write_text("{")
    assert "episode2_100" in given.run(chain[:1], 80).figures
    assert started[2:] == ["episode2_100"]
    assert "episode2_100.json: damaged" in capsys.readouterr().err


def test_estimates_are_of_the_run_itself_or_of_the_same_kind_of_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, run = recipes.load("vgg3"), Run(tmp_path / "run")
    known = one("vgg3", 10, device="Some GPU")
    monkeypatch.setattr(Result, "load", lambda name: known)
    assert estimate.epoch(recipe, "cuda", run) == 2.0
    guessed = estimate.epoch(recipe, "cpu", run)
    assert guessed > 10
    assert estimate.epoch(replace(recipe, batch_size=32), "cpu", run) > guessed
    then = known.runs[0].environment | {"then": [{"device": "cpu"}]}
    known = Result("vgg3", {}, (replace(known.runs[0], environment=then),))
    assert estimate.epoch(recipe, "cuda", run) != 2.0
    write_epochs(run, 3, seconds=7.0)
    assert estimate.epoch(recipe, "cuda", run) == 7.0
    assert estimate.seconds(recipe, "cuda", run, 2) == 15 + 14


def test_fast_runs_are_compared_with_airbench(tmp_path: Path) -> None:
    figures = [
        {"recipe": "fast94", "accuracy": 0.94 + seed / 1000, "seconds": 6.0 + seed}
        for seed in range(2)
    ]
    outcomes = [
        Outcome(f"fast94-{seed}", fast.PART, "passed", 9.0, 8.0, "", each)
        for seed, each in enumerate(figures)
    ]
    page = fast.airbench_table(outcomes)
    ours = "94.05 % ± 0.07 (n = 2), fewer than 5 runs | 6.5 s (6.0 to 7.0)"
    assert f"| `fast94` | {ours} | airbench94 | 94.01 % | 3.83 s |" in page
    assert "fast95" not in page
    assert "6.0 s (6.0 to 6.0)" in fast.airbench_table(outcomes[:1])
    assert fast.airbench_table([]) == ""
    comparison = AirbenchComparison("cuda", "DIR", tmp_path)
    steps = comparison.steps()
    names = [step.name for step in islice(steps, 4)]
    assert names == ["fast94-0", "compile", "fast95-0", "fast96-0"]
    write_epochs(comparison._run("fast94", 0), 24, seconds=100.0)
    following = list(steps)
    assert (following[0].name, following[0].seconds) == ("fast94-1", 15 + 24 * 100)
    assert len(following) == 12


def test_compiling_saves_time_from_the_epoch_that_has_paid_for_it() -> None:
    plain = {"first_epoch": 3.0, "epoch": 2.0}
    compiled = {"first_epoch": 33.0, "epoch": 1.0}
    # 31 s longer in the first epoch besides its training, and 1 s shorter in each.
    assert fast.saves_from(plain, compiled) == 32
    assert fast.saves_from(compiled, plain) is None


def test_compiling_is_skipped_without_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(SkippedError, match=r"needs a C\+\+ compiler and Python.h"):
        AirbenchComparison("cuda", "DIR", tmp_path).compile(9)


@pytest.mark.long
def test_compiling_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "COMPILED", "lenet")
    comparison = AirbenchComparison("cpu", str(images.write(tmp_path / "data")), tmp_path)
    findings = comparison.compile(200)
    assert findings.summary.startswith("torch.compile saves ")
    plain, compiled = (findings.figures[f"compile={each}"] for each in ("false", "true"))
    assert compiled["first_epoch"] > plain["first_epoch"] > 0


def test_what_servers_lack_is_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def measure(name: str, *arguments: object) -> Findings:
        tried.append(name)
        raise SkippedError("no captum")

    monkeypatch.setattr(child, "measure", measure)
    for step in ServerComparison("cpu", tmp_path).steps():
        with pytest.raises(SkippedError, match="no captum"):
            step.run(99)
    assert len(tried) == 1
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    with pytest.raises(SkippedError, match="found no ts, model_archiver"):
        serving.require()


@pytest.mark.long
def test_a_run_is_trained_and_its_result_joins_others(tmp_path: Path) -> None:
    data, results = images.write(tmp_path / "data"), tmp_path / "results"
    replace(one("lenet", 1, seed=1), changed={"epochs": 1}).save(results)
    places = [str(data), str(tmp_path / "runs"), str(results)]
    log = tmp_path / "log"
    child.python("benchmarks.gpu.train_recipe", ["lenet", "0", *places, "epochs=1"], log, 100)
    result = Result.load("lenet", results)
    assert result is not None
    assert [(each.seed, each.images) for each in result.runs] == [(0, 128), (1, 10000)]


def test_cifar10_is_expected_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = images.write(tmp_path / "data")
    with pytest.raises(SystemExit, match=r"expected CIFAR-10 .* found none; name its folder"):
        gpu.find_data(str(data))
    monkeypatch.setattr(document, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="cifar10: expected CIFAR-10"):
        gpu.find_data("cifar10")
    monkeypatch.setattr(gpu, "is_cifar10", lambda source: True)
    monkeypatch.chdir(tmp_path)
    assert gpu.find_data("data") == str(data)


def command(output: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.gpu", "--output", str(output), *options]


def test_without_a_gpu_the_command_says_so(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    finished = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "expected an NVIDIA GPU, torch finds none" in finished.stderr


@pytest.mark.long
def test_a_stopped_command_leaves_no_process(tmp_path: Path) -> None:
    on_cpu = command(tmp_path, "--device", "cpu", "--only", "checks")
    process = subprocess.Popen(on_cpu, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (children := psutil.Process(process.pid).children(recursive=True)):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        second = subprocess.run(on_cpu, capture_output=True, text=True, check=False)
        assert "expected no other call with this folder, one is running" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == gpu.INTERRUPTED
    assert "because the command was stopped" in output
    assert not any(each.is_running() for each in children)
    (folder,) = tmp_path.glob("cpu-*")
    found = [json.loads(path.read_text())["state"] for path in (folder / "steps").iterdir()]
    assert "stopped" in found
    assert "stopped" in (folder / "summary.md").read_text()


@pytest.mark.long
def test_all_checks_pass_on_this_cpu(tmp_path: Path) -> None:
    on_cpu = command(tmp_path, "--device", "cpu", "--only", "checks")
    finished = subprocess.run(on_cpu, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
    assert finished.stdout.count("passed") == 4
    assert finished.stdout.count("skipped") == 2
    assert finished.stderr == ""
    assert finished.stdout.endswith("All steps are done.\n")
