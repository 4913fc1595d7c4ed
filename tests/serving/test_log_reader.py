"""Logs that grow and are rotated while they are read."""

import os
from pathlib import Path

from falconet.serving.log_reader import LogReader


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_only_what_is_new_and_complete(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, "before\nhalf of")
    with LogReader(log) as reader:
        assert reader.lines() == []
        append(log, " it\nfirst\nsec")
        assert reader.lines() == [" it", "first"]
        append(log, "ond\n")
        assert reader.lines() == ["second"]
        assert reader.lines() == []


def test_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with LogReader(log) as reader:
        assert reader.lines() == []
        append(log, "first\n")
        assert reader.lines() == ["first"]


def test_nothing_is_lost_when_a_log_is_rotated(tmp_path: Path) -> None:
    log, old = tmp_path / "log", tmp_path / "log.1"
    append(log, "before\n")
    with LogReader(log) as reader:
        append(log, "last of the old one\n")
        log.rename(old)
        assert reader.lines() == ["last of the old one"], "its successor is not there yet"
        append(old, "late\n")
        append(log, "first of the new one\n")
        assert reader.lines() == ["late", "first of the new one"]
        append(log, "second\n")
        assert reader.lines() == ["second"]
        os.truncate(log, 0)
        append(log, "anew\n")
        assert reader.lines() == ["anew"]
