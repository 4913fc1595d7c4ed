import subprocess
from pathlib import Path

import pytest

from falconet.serving import profile
from falconet.serving.configuration import Configuration
from falconet.serving.errors import ServerError
from falconet.serving.profile import Profile


@pytest.mark.parametrize(
    ("cores", "gpus", "name", "workers", "threads"),
    [
        (1, 0, "small", 1, 1),
        (2, 0, "small", 2, 1),
        (8, 0, "small", 8, 1),
        (9, 0, "large", 8, 1),
        (64, 0, "large", 56, 1),
        (16, 1, "gpu", 2, 8),
        (8, 8, "gpu", 16, 1),
    ],
)
def test_a_machine_has_a_profile(
    cores: int, gpus: int, name: str, workers: int, threads: int
) -> None:
    chosen = Profile.choose("auto", cores, gpus)
    assert (chosen.name, chosen.workers, chosen.threads) == (name, workers, threads)
    assert chosen.gpus == gpus
    # Asked for by its name it is the same.
    assert Profile.choose(chosen.name, cores, gpus) == chosen


@pytest.mark.parametrize(
    ("cores", "gpus", "models", "workers", "threads"),
    [
        (2, 0, 1, 2, 1),
        (2, 0, 2, 1, 1),
        (2, 0, 3, 1, 1),
        (8, 0, 3, 3, 1),
        (7, 0, 4, 2, 1),
        (64, 0, 4, 14, 1),
        (16, 1, 2, 1, 8),
        (16, 1, 4, 1, 4),
        (8, 8, 2, 8, 1),
    ],
)
def test_models_share_a_machine(
    cores: int, gpus: int, models: int, workers: int, threads: int
) -> None:
    shared = Profile.choose("auto", cores, gpus).among(models)
    assert (shared.workers, shared.threads) == (workers, threads)


def test_a_gpu_may_be_left_alone_but_not_invented() -> None:
    assert Profile.choose("small", 4, gpus=1).gpus == 0
    with pytest.raises(ServerError, match="profile gpu: expected an NVIDIA GPU"):
        Profile.choose("gpu", 4, gpus=0)


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "available_cores", lambda: 4)
    monkeypatch.setattr(profile, "count_gpus", lambda: 0)
    assert Profile.of_machine() == Profile.choose("small", 4, 0)
    monkeypatch.setattr(profile, "count_gpus", lambda: 1)
    assert Profile.of_machine() == Profile.choose("gpu", 4, 1)


def test_a_file_wins_over_a_profile() -> None:
    chosen = Profile.choose("large", 16, gpus=0)
    ports = Configuration.load().ports
    lines = ("# number_of_gpu=3", "job_queue_size = 7", "vmargs=-Xmx1g -Da=b")
    fitted = Configuration(lines, ports, environment={"FALCONET_THREADS": "5"}).fit(chosen)
    assert fitted.lines[:3] == lines
    assert set(fitted.lines[3:]) == {
        *("default_workers_per_model=14", "number_of_gpu=0", "number_of_netty_threads=16"),
    }
    assert fitted.environment == {"FALCONET_THREADS": "5"}

    shipped = Configuration.load().fit(chosen)
    (vmargs,) = (line for line in shipped.lines if line.startswith("vmargs="))
    assert vmargs.startswith("vmargs=-Xmx2048m -XX:+ExitOnOutOfMemoryError")
    assert shipped.environment == {"FALCONET_THREADS": "1"}


def test_gpus_are_those_that_may_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: H'\necho '  MIG 1g'\necho 'GPU 1: H'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for visible, count in ((None, 2), ("1", 1), ("0,1", 2), ("", 0), ("-1", 0)):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert profile.count_gpus() == count
    program.write_text("#!/bin/sh\nexit 9\n")
    assert profile.count_gpus() == 0
    program.unlink()
    assert profile.count_gpus() == 0

    def hangs(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 30)

    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(ServerError, match="nvidia-smi does not answer; repair the driver"):
        profile.count_gpus()
