"""Two commands that would change the models of one server."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from falconet.serving import server
from falconet.serving.configuration import Configuration
from falconet.serving.errors import ServerError
from falconet.serving.record import FILE_NAME, lock_models
from falconet.serving.server import Server


def test_who_is_patient_waits_for_the_other(tmp_path: Path) -> None:
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock_models(tmp_path):
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        held.wait()
        for patience in (0.0, 0.2):
            began = time.monotonic()
            with (
                pytest.raises(ServerError, match="another command is changing the models"),
                lock_models(tmp_path, patience),
            ):
                pass
            assert time.monotonic() - began >= patience
        threading.Timer(0.2, over.set).start()
        with lock_models(tmp_path, patience=60):
            assert over.is_set()
    finally:
        over.set()
        thread.join()


def test_a_server_does_not_start_while_a_deploy_runs(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LOCK_SECONDS", 0.1)
    configuration = Configuration.load(inference=0, management=0, metrics=0)
    with (
        lock_models(tmp_path),
        pytest.raises(ServerError, match="another command is changing the models"),
    ):
        Server.start([make("1.0")], tmp_path, configuration)
    assert not (tmp_path / FILE_NAME).exists()
    assert Server.find(tmp_path) is None
