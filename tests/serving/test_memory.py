from collections.abc import Callable
from pathlib import Path

import pytest

from falconet.native import cores
from falconet.serving import memory
from falconet.serving.errors import ServerError
from falconet.serving.memory import Need, available_memory, check_fits


def test_what_does_not_fit_is_said_with_numbers(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = [Need("pets", 2, make("1.0")), Need("cats", 1, make("5.0", model="cats"))]
    monkeypatch.setattr(memory, "available_memory", lambda: 1_400_000_000)
    check_fits(needs)
    message = (
        r"expected 147\d MB of free memory, found 1400 MB: pets 2 x 320 MB for its workers, "
        r"cats 1 x 320 MB for its workers, Java 512 MB; have fewer workers"
    )
    with pytest.raises(ServerError, match=message):
        check_fits(needs, java=512_000_000)
    assert all(320_000_000 < need.worker < 321_000_000 for need in needs)


def test_memory_is_that_of_the_machine_or_of_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
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
        (group / "memory.stat").write_text("anon 1500000\ninactive_file 500000\n")
    assert available_memory() == 1_500_000
    (tmp_path / "pod/box/memory.current").write_text("9000000\n")
    assert available_memory() == 0
