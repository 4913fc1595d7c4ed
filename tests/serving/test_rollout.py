"""A model on several real servers; test_failed_deploys.py has all branches."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from falconet.serving.client import Client
from falconet.serving.errors import ServerError
from falconet.serving.record import Record
from falconet.serving.rollout import deploy
from falconet.serving.server import Server

pytestmark = [pytest.mark.server, pytest.mark.long]


def test_the_new_version_is_on_all_of_them_or_on_none(
    given: Path,
    start_pets: Callable[..., Server],
    make: Callable[..., Path],
    said_by: Callable[[Server], str],
    load: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    servers = [start_pets(given, name) for name in ("a", "b")]
    second = make("2.0")

    def serve(version: str) -> None:
        for each in servers:
            assert said_by(each) == version
            found = [one["modelVersion"] for one in each.client.versions("pets")]
            record = Record.load(each.folder)["pets"]
            assert found == [version] == [record.serving.version]
            assert (record.coming, record.leaving) == (None, None)

    with ExitStack() as stack:
        loads = [
            stack.enter_context(load(each.client.prediction_url("pets"), threads=1))
            for each in servers
        ]
        # One that cannot be switched, when another has been.
        with monkeypatch.context() as patched:
            switch = Client.set_default

            def stuck(self: Client, model: str, version: str) -> None:
                if self.inference == servers[1].client.inference and version == "2.0":
                    raise ServerError("stuck")
                switch(self, model, version)

            patched.setattr(Client, "set_default", stuck)
            with pytest.raises(ServerError, match="stuck"):
                deploy(servers, second)
        serve("1.0")
        deploy(servers, second)
        serve("2.0")
    for each in loads:
        assert each.answers.keys() == {"1.0", "2.0"}, each.answers
