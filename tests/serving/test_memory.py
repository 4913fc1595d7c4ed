from collections.abc import Callable
from pathlib import Path

import pytest

from falconet.native import cores
from falconet.serving import memory
from falconet.serving.errors import ServerError
from falconet.serving.memory import Need, available_memory, check_fits, most_workers
from falconet.serving.profile import Profile


def test_what_does_not_fit_is_said_with_numbers(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = [Need("pets", 2, make("1.0")), Need("cats", 1, make("5.0", model="cats"))]
    monkeypatch.setattr(memory, "available_memory", lambda: 1_400_000_000)
    check_fits(needs)
    message = (
        r"expected 147\d MB of free memory, found 1400 MB: pets 2 x 320 MB for its workers, "
        r"cats 1 x 320 MB for its workers, Java 512 MB; use fewer workers"
    )
    with pytest.raises(ServerError, match=message):
        check_fits(needs, java=512_000_000)
    assert all(320_000_000 < need.worker < 321_000_000 for need in needs)


def test_workers_are_as_many_as_fit(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pets, cats = make("1.0", workers=0), make("5.0", model="cats", workers=0)
    three = make("1.0", model="dogs", workers=3)
    for free, java, archives, expected in (
        (2_000_000_000, 500_000_000, {"pets": pets}, 4),
        (2_000_000_000, 500_000_000, {"pets": pets, "cats": cats}, 2),
        (2_000_000_000, 500_000_000, {"pets": pets, "dogs": three}, 1),
        (2_300_000_000, 500_000_000, {"pets": pets, "dogs": three}, 2),
        (100_000_000, 500_000_000, {"pets": pets}, 1),
        (9_000_000_000, 500_000_000, {"dogs": three}, 1),
    ):
        monkeypatch.setattr(memory, "available_memory", lambda free=free: free)
        assert most_workers(archives, java) == expected
    many = Profile.choose("auto", 64, 0)
    assert many.at_most(100) == many
    few = many.at_most(7)
    assert (few.workers, few.threads) == (7, 8)
    assert many.at_most(0).workers == 1


def test_memory_is_that_of_the_machine_or_of_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "GROUPS", tmp_path)
    monkeypatch.setattr(cores, "OWN_GROUP", tmp_path / "own")
    machine = available_memory()
    assert machine > 0
    (tmp_path / "own").write_text("0::/pod/box\n")
    assert available_memory() == pytest.approx(machine, rel=0.2)
    for name, limit in (("pod", "max"), ("pod/box", "3000000")):
        group = tmp_path / name
        group.mkdir()
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text("2000000\n")
        (group / "memory.stat").write_text(
            "anon 1300000\ninactive_file 500000\nactive_file 100000\nslab_reclaimable 20000\n"
            "slab_unreclaimable 80000\n"
        )
    assert available_memory() == 1_620_000, "what the kernel can take back is free"
    (tmp_path / "pod/box/memory.current").write_text("9000000\n")
    assert available_memory() == 0


def test_memory_of_groups_of_version_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "GROUPS", tmp_path)
    monkeypatch.setattr(cores, "OWN_GROUP", tmp_path / "own")
    (tmp_path / "own").write_text("11:cpu,cpuacct:/pod/box\n9:memory:/pod/box\n0::/pod\n")
    machine = available_memory()
    unlimited = 9223372036854771712

    def limit(group: str, most: int) -> None:
        folder = tmp_path / "memory" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.limit_in_bytes").write_text(f"{most}\n")
        (folder / "memory.usage_in_bytes").write_text("2000000\n")
        (folder / "memory.stat").write_text(
            "inactive_file 1\ntotal_inactive_file 500000\ntotal_active_file 100000\n"
        )

    limit("pod", unlimited)
    assert available_memory() == pytest.approx(machine, rel=0.2)
    limit("pod/box", 3_000_000)
    assert available_memory() == 1_600_000
    # A container that sees the machine's paths finds its own group at the top.
    (tmp_path / "own").write_text("9:memory:/elsewhere/box\n")
    limit("", 4_000_000)
    assert available_memory() == 2_600_000
    # A limit of version 2 comes first.
    (tmp_path / "own").write_text("9:memory:/pod/box\n0::/pod\n")
    for name, content in (("max", "9000000"), ("current", "1000000"), ("stat", "anon 1000000")):
        (tmp_path / "pod").mkdir(exist_ok=True)
        (tmp_path / "pod" / f"memory.{name}").write_text(f"{content}\n")
    assert available_memory() == 8_000_000
