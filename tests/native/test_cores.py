"""How many cores a process may use, in a container as well."""

import os
from pathlib import Path

import pytest

from falconet.native import available_cores, cores

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="only Linux has control groups"
)


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 cores whose control groups are files of this test."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(cores, "GROUPS", tmp_path)
    monkeypatch.setattr(cores, "OWN_GROUP", tmp_path / "own")
    return tmp_path


def limit(groups: Path, group: str, text: str) -> None:
    (groups / group).mkdir(parents=True, exist_ok=True)
    (groups / group / "cpu.max").write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000", 64), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1)],
)
def test_a_container_has_what_its_quota_says(groups: Path, text: str, expected: int) -> None:
    (groups / "own").write_text("0::/\n")
    limit(groups, ".", text)
    assert available_cores() == expected


def test_a_service_has_the_least_of_the_groups_around_it(groups: Path) -> None:
    (groups / "own").write_text("12:cpu:/elsewhere\n0::/system.slice/falconet.service\n")
    limit(groups, "system.slice/falconet.service", "max 100000")
    limit(groups, "system.slice", "400000 100000")
    assert available_cores() == 4
    limit(groups, "system.slice/falconet.service", "300000 100000")
    assert available_cores() == 3


def test_more_quota_than_cores_are_no_more_cores(
    groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    (groups / "own").write_text("0::/\n")
    limit(groups, ".", "800000 100000")
    assert available_cores() == 3


def test_without_groups_the_affinity_counts(groups: Path) -> None:
    assert available_cores() == 64
    (groups / "own").write_text("7:cpu:/\n")
    assert available_cores() == 64


def test_quotas_of_version_1(groups: Path) -> None:
    """Where a container sees the machine's paths, its own group is at the top."""
    (groups / "own").write_text("4:cpu,cpuacct:/kubepods/pod1\n9:memory:/kubepods/pod1\n")

    def limit_v1(group: str, quota: int) -> None:
        folder = groups / "cpu" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text("100000\n")

    limit_v1("", -1)
    assert available_cores() == 64
    limit_v1("kubepods", 800_000)
    assert available_cores() == 8
    limit_v1("kubepods/pod1", 250_000)
    assert available_cores() == 3
    limit_v1("", 200_000)
    assert available_cores() == 2
