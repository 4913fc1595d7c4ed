"""A model on several real servers: the new version on all of them, or on none."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from falconet.serving.client import Client
from falconet.serving.deployment import Deployment
from falconet.serving.errors import ServerError
from falconet.serving.record import Record, alone
from falconet.serving.rollout import deploy, rollback
from falconet.serving.server import Server

pytestmark = pytest.mark.server

Make = Callable[..., Path]


@pytest.fixture
def servers(make: Make, start_pets: Callable[..., Server]) -> Iterator[list[Server]]:
    """Two, with version 1.0."""
    first = make("1.0")
    return [start_pets(first, name) for name in ("a", "b")]


def said_by(servers: list[Server], picture: bytes) -> list[str]:
    answers = [each.client.predict("pets", picture) for each in servers]
    return [str(each["predictions"][0]["label"].split()[0]) for each in answers]


def nothing_is_left(servers: list[Server], version: str) -> None:
    for each in servers:
        assert [one["modelVersion"] for one in each.client.versions("pets")] == [version]
        record = Record.load(each.folder)["pets"]
        assert (record.coming, record.leaving, record.serving.version) == (None, None, version)
        assert {path.name for path in each.store.iterdir()} == record.files()


def test_all_of_them_or_none(
    servers: list[Server],
    make: Make,
    picture: bytes,
    load: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    second = make("2.0")
    steps: list[str] = []
    with ExitStack() as stack:
        loads = [
            stack.enter_context(load(each.client.prediction_url("pets"), threads=1))
            for each in servers
        ]
        # One where the model does not start.
        with monkeypatch.context() as patched:
            whole = Client.register

            def failing(self: Client, *arguments: Any) -> None:
                whole(self, *arguments)
                if self.inference == servers[1].client.inference:
                    raise ServerError("no luck here")

            patched.setattr(Client, "register", failing)
            with pytest.raises(ServerError, match="no luck here"):
                deploy(servers, second, steps.append)
        assert steps[-1].endswith("1.0 serves as before")
        nothing_is_left(servers, "1.0")

        # One that cannot be switched, when another has been.
        with monkeypatch.context() as patched:
            switch = Client.set_default

            def stuck(self: Client, model: str, version: str) -> None:
                if self.inference == servers[1].client.inference and version == "2.0":
                    raise ServerError("stuck")
                switch(self, model, version)

            patched.setattr(Client, "set_default", stuck)
            with pytest.raises(ServerError, match="stuck"):
                deploy(servers, second, steps.append)
        assert said_by(servers, picture) == ["one", "one"]
        nothing_is_left(servers, "1.0")

        # One that somebody else is changing: nothing is begun.
        with alone(servers[1].folder), pytest.raises(ServerError, match="another command"):
            deploy(servers, second)
        nothing_is_left(servers, "1.0")

        release = deploy(servers, second, steps.append)
        assert f"{servers[0].folder}: 2.0 serves" in steps
        assert said_by(servers, picture) == ["two", "two"]
        nothing_is_left(servers, "2.0")
        assert deploy(servers, second) == release

        assert rollback(servers, "pets").version == "1.0"
        assert said_by(servers, picture) == ["one", "one"]
        nothing_is_left(servers, "1.0")
    for each in loads:
        assert each.answers.keys() == {"one", "two"}, each.answers


class KilledError(BaseException):
    pass


def test_a_deploy_that_is_killed_between_two_servers(
    servers: list[Server], make: Make, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is repeated; meanwhile nobody guesses what to go back to."""
    second = make("2.0")
    with monkeypatch.context() as patched:
        plain = Deployment.switch

        def killed(self: Deployment) -> None:
            if self.server.folder == servers[1].folder:
                raise KilledError
            plain(self)

        patched.setattr(Deployment, "switch", killed)
        patched.setattr(Deployment, "undo", lambda _: None)
        patched.setattr(Deployment, "take_back", lambda *_: None)
        with pytest.raises(KilledError):
            deploy(servers, second)
    assert said_by(servers, picture) == ["two", "one"]
    with pytest.raises(ServerError, match="nothing has been deployed that could be rolled back"):
        rollback(servers, "pets")
    deploy(servers, second)
    assert said_by(servers, picture) == ["two", "two"]
    nothing_is_left(servers, "2.0")
