from pathlib import Path

import pytest

from falconet.serving import logs
from falconet.serving.logs import Logs


def test_a_death_is_of_a_model_and_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several workers write at a time, and a model's name may end as another's does."""
    monkeypatch.setattr(logs, "LAST_WORDS_SECONDS", 0.0)
    found = Logs(tmp_path)
    assert found.last_words() is None
    deaths = found.deaths()
    assert deaths.of("cats", "1.0") == 0
    died = "2026-01-01 [INFO ] {} org.pytorch.serve.wlm.WorkerThread - error: Worker died.\n"
    threads = ("W-9001-big-cats_1.0", "W-9000-cats_1.0", "W-9001-big-cats_1.0")
    (tmp_path / "ts_log.log").write_text("".join(map(died.format, threads)))
    said = "2026-01-01 [INFO ] {}-stdout MODEL_LOG - {}\n"
    lines = [
        (threads[0], "s_name_part0=/tmp/a"),
        (threads[1], "s_name_part0=/tmp/b"),
        (threads[0], "ValueError: of the one"),
        (threads[1], "ValueError: of the other"),
        (threads[0], "s_name_part0=/tmp/c"),
        (threads[0], "later"),
    ]
    (tmp_path / "model_log.log").write_text("".join(said.format(*line) for line in lines))
    for _ in range(2):
        assert [deaths.of(each, "1.0") for each in ("cats", "big-cats", "s")] == [1, 2, 0]
    assert deaths.of("cats", "2.0") == 0
    assert found.last_words() == (
        "ValueError: of the one\nIts log ends with:\ns_name_part0=/tmp/a\nValueError: of the one"
    )
    with found.deaths() as later:
        assert later.of("cats", "1.0") == 0, "what was before is of no interest"
        # Log4j begins another file after 100 MB.
        (tmp_path / "ts_log.log").rename(tmp_path / "ts_log.1.log")
        (tmp_path / "ts_log.log").write_text(died.format(threads[1]))
        assert later.of("cats", "1.0") == 1
    deaths.close()


def test_logs_of_the_last_starts_are_kept(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs")
    for start in range(6):
        (logs.begin() / "console.log").write_text(f"{start}")
    found = {path.parent.name: path.read_text() for path in tmp_path.glob("*/console.log")}
    assert found == {"logs": "5", "logs.1": "4", "logs.2": "3", "logs.3": "2"}
