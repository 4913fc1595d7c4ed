"""Going back, more than once, and forward again; on a stand-in."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from falconet.serving.errors import ServerError
from falconet.serving.record import KEPT, Record, Release
from falconet.serving.rollout import deploy, rollback
from falconet.serving.store import copy_archive, identify
from tests.stand_in import StandIn

Make = Callable[..., Path]


def serves(server: StandIn, version: str) -> None:
    assert [each["modelVersion"] for each in server.client.versions("pets")] == [version]
    assert Record.load(server.folder)["pets"].serving.version == version


def test_back_and_further_back_and_forward(stand_in: Callable[..., StandIn], make: Make) -> None:
    server = stand_in()
    for version in ("2.0", "3.0"):
        deploy([server], make(version))
    for version in ("2.0", "1.0"):
        assert rollback([server], "pets").version == version
        serves(server, version)
    with pytest.raises(ServerError, match="pets: there is no previous version to roll back to"):
        rollback([server], "pets")
    steps: list[str] = []
    assert rollback([server], "pets", steps.append, to="3").version == "3.0"
    serves(server, "3.0")
    assert rollback([server], "pets", to="3.0").version == "3.0", "it serves already"
    assert rollback([server], "pets", to="1").version == "1.0"
    # A new version takes the place of those that were rolled back from.
    deploy([server], make("4.0"))
    with pytest.raises(ServerError, match=r"pets: version 3\.0 is not kept; .* falconet deploy"):
        rollback([server], "pets", to="3.0")
    assert rollback([server], "pets").version == "1.0"
    files = sorted(path.name.rpartition("-")[0] for path in server.store.iterdir())
    assert files == ["pets-1.0", "pets-4.0"]


def test_so_many_versions_are_kept() -> None:
    def release(number: int) -> Release:
        return Release(f"{number}.0", f"pets-{number}.0-abc.mar")

    record = Record(release(0))
    for number in range(1, 10):
        record = replace(record, coming=release(number)).switched()
    assert record.serving == release(9)
    assert record.earlier == tuple(release(9 - i) for i in range(1, KEPT + 1))
    back = replace(record, coming=release(6), purpose="rollback").switched()
    assert (back.serving, back.leaving) == (release(6), release(9))
    assert back.earlier == (release(5), release(4))
    assert back.later == (release(7), release(8), release(9))
    forward = replace(back, coming=release(8)).switched()
    assert forward.earlier == (release(7), release(6), release(5), release(4))
    assert forward.later == (release(9),)
    # What is deployed once more is the last one, whatever was before.
    again = replace(forward, coming=release(6), purpose="deploy").switched()
    assert again.earlier == (release(8), release(7), release(5), release(4))
    assert again.later == ()


def test_an_archive_is_copied_once(make: Make, tmp_path: Path) -> None:
    archive = make("1.0")
    release = identify(archive)
    copy_archive(archive, release, tmp_path)
    copy = tmp_path / release.file
    copied = copy.stat()
    copy_archive(archive, release, tmp_path)
    assert copy.stat().st_ino == copied.st_ino
    copy.write_bytes(copy.read_bytes()[:1000])
    copy_archive(archive, release, tmp_path)
    assert identify(copy) == release, "a damaged copy is replaced"
