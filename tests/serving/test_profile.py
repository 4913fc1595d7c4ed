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
