"""How long a command that has died still counts as running."""

from dataclasses import replace
from pathlib import Path

import pytest

from falconet.serving import lease
from falconet.serving.lease import Lease
from falconet.serving.record import Record, Release
from falconet.serving.split import Split


def test_a_lease_ends_by_time_and_by_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Lease.for_now(60).valid
    assert not Lease.for_now(-1).valid
    held = Lease.for_now(60)
    # The date does not count: a clock that is set otherwise changes nothing.
    monkeypatch.setattr(lease.time, "time", lambda: 1e10)
    assert held.valid
    monkeypatch.setattr(lease, "BOOT", tmp_path / "boot")
    (tmp_path / "boot").write_text("another\n")
    assert not held.valid


def test_a_share_is_given_only_under_a_lease(tmp_path: Path) -> None:
    coming = Release("2.0", "pets-2.0-abc.mar")
    record = Record(Release("1.0", "pets-1.0-abc.mar"), coming=coming, percent=10)
    assert record.split == Split(), "a version before had none"
    trial = replace(record, lease=Lease.for_now(60))
    assert trial.split == Split("2.0", 10)
    assert replace(record, lease=Lease.for_now(-1)).split == Split()
    trial.save(tmp_path, "pets")
    assert Record.load(tmp_path)["pets"] == trial
    assert trial.switched().lease is None
