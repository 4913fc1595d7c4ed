"""What is left of deploys and rollbacks that fail or are interrupted, on one server or several.

All branches, on stand-ins for TorchServe; test_deployment.py and test_rollout.py show the same of
real ones.
"""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.model.samples import Sample
from falconet.serving.client import Client
from falconet.serving.deployment import Deployment
from falconet.serving.errors import ServerError
from falconet.serving.package import Package
from falconet.serving.record import Record, Release, lock_models
from falconet.serving.rollout import deploy, rollback
from falconet.serving.server import Server
from tests.stand_in import StandIn

Make = Callable[..., Path]
SaidBy = Callable[[Server], str]


class KilledError(BaseException):
    pass


@pytest.fixture
def server(stand_in: Callable[..., StandIn]) -> StandIn:
    return stand_in()


@pytest.fixture
def servers(stand_in: Callable[..., StandIn]) -> list[StandIn]:
    return [stand_in(name) for name in ("a", "b")]


@pytest.fixture
def serves(said_by: SaidBy) -> Callable[[Server, str], None]:
    """Asserts that a server serves a version, and that nothing of any other change is left."""

    def check(server: Server, version: str) -> None:
        assert said_by(server) == version
        assert [each["modelVersion"] for each in server.client.versions("pets")] == [version]
        record = Record.load(server.folder)["pets"]
        assert (record.coming, record.leaving, record.serving.version) == (None, None, version)
        assert {path.name for path in server.store.iterdir()} == record.files()

    return check


def test_what_fails_leaves_all_as_it_was(
    server: StandIn,
    make: Make,
    image: bytes,
    pets: Any,
    serves: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = sorted(server.store.iterdir())

    def refused(made: Path, message: str) -> None:
        with pytest.raises(ServerError, match=message):
            deploy([server], made)
        serves(server, "1.0")
        assert sorted(server.store.iterdir()) == before

    good = make("2.0")
    for version in ("1.0", "1"):
        same = tmp_path / version / "pets.mar"
        archive(pets.exported("2.0"), same, handler=ENTRY, version=version)
        refused(same, rf"another archive is deployed as version {version}; pack this one with")

    server.interfaces.dying.add("3.0")
    refused(
        make("3.0"), r"pets 3\.0: a worker died while it loaded the model; see .*model_log\.log"
    )
    unlike = tmp_path / "unlike" / "pets.mar"
    known = [Sample(image, "2.0 dog", 0.123)]
    archive(pets.exported("2.0"), unlike, handler=ENTRY, version="4.0", known=known)
    refused(unlike, r"pets 4\.0: expected 2\.0 dog with probability 0\.123 for sample 0, got")

    # No room in the store: what has come that far is removed.
    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"a part")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("falconet.serving.store.shutil.copyfile", full)
        refused(good, "No space left on device")
    with lock_models(server.folder):
        refused(good, "another command is changing the models")
    with pytest.raises(ServerError, match="there is no previous version to roll back to"):
        rollback([server], "pets")
    deploy([server], good)
    serves(server, "2.0")


@pytest.mark.parametrize("back", [False, True], ids=["deploy", "rollback"])
@pytest.mark.parametrize("step", ["_start", "switch", "drain"])
def test_what_is_killed_is_repeated(
    server: StandIn,
    make: Make,
    said_by: SaidBy,
    serves: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    back: bool,
) -> None:
    """A deploy or a rollback, as if by SIGKILL: nothing of it cleans up."""
    second = make("2.0")
    first = Record.load(server.folder)["pets"].serving
    before, after = ("2.0", "1.0") if back else ("1.0", "2.0")
    if back:
        deploy([server], second)

    def change() -> Release:
        if back:
            return rollback([server], "pets")
        return deploy([server], second)

    whole = Deployment._start

    def killed(self: Deployment, *arguments: object) -> None:
        if step == "_start":  # when it is there, and before it is the default
            whole(self, *arguments)  # type: ignore[arg-type]
        if step == "switch":  # when it is the default, and before that is written down
            self.server.client.set_default("pets", after)
        raise KilledError  # drain: before the old one goes

    with monkeypatch.context() as patched:
        patched.setattr(Deployment, step, killed)
        patched.setattr(Deployment, "undo", lambda _: None)
        patched.setattr(Deployment, "revert_switch", lambda *_: None)
        with pytest.raises(KilledError):
            change()
    assert said_by(server) == (before if step == "_start" else after)

    release = change()
    serves(server, after)
    assert Record.load(server.folder)["pets"].serving == release
    assert (release == first) == back


def test_an_archive_that_is_made_anew_is_not_what_was_deployed(
    server: StandIn, make: Make, serves: Callable[..., None], given: Path
) -> None:
    """Under the path that the server was started with."""
    shutil.copy(make("2.0"), given)
    deploy([server], given)
    serves(server, "2.0")
    rollback([server], "pets")
    serves(server, "1.0")


def test_a_server_that_is_gone_leaves_what_was_begun(
    server: StandIn,
    stand_in: Callable[..., StandIn],
    make: Make,
    serves: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first error is told, and the next deploy undoes what was left."""
    second = make("2.0")

    def gone(self: Deployment, *_: object) -> None:
        self.server.stop()
        raise ServerError("what went wrong first")

    steps: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(Deployment, "_start", gone)
        with pytest.raises(ServerError, match="what went wrong first"):
            deploy([server], second, steps.append)
    assert steps[-1].startswith("could not revert yet, the server does not respond")
    assert Record.load(server.folder)["pets"].coming is not None
    # Where it is started again, there is nothing of that.
    again = stand_in()
    assert Record.load(server.folder)["pets"].coming is None
    deploy([again], second, steps.append)
    serves(again, "2.0")


def test_a_server_begins_anew_with_another_archive(
    server: StandIn,
    stand_in: Callable[..., StandIn],
    make: Make,
    serves: Callable[..., None],
    given: Path,
) -> None:
    deploy([server], make("2.0"))
    server.stop()
    again = stand_in()
    serves(again, "2.0")
    again.stop()
    shutil.copy(make("3.0"), given)
    serves(stand_in(), "3.0")


def test_what_was_deployed_has_to_be_in_the_store(
    server: StandIn, stand_in: Callable[..., StandIn], make: Make
) -> None:
    deployed = deploy([server], make("2.0"))
    server.stop()
    (server.store / deployed.file).unlink()
    with pytest.raises(ServerError, match=rf"pets was deployed as {deployed.file}, which is not"):
        stand_in()


def test_all_of_several_servers_or_none(
    servers: list[StandIn],
    make: Make,
    serves: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = make("2.0")
    steps: list[str] = []
    register, set_default = Client.register, Client.set_default

    def on_the_second(self: Client) -> bool:
        return self.inference == servers[1].client.inference

    # One where the model does not start.
    with monkeypatch.context() as patched:

        def failing(self: Client, *arguments: Any) -> None:
            register(self, *arguments)
            if on_the_second(self):
                raise ServerError("no luck here")

        patched.setattr(Client, "register", failing)
        with pytest.raises(ServerError, match="no luck here"):
            deploy(servers, second, steps.append)
    assert steps[-1].endswith("version 1.0 is still the current version")
    for each in servers:
        serves(each, "1.0")

    # One that cannot be switched, when another has been.
    with monkeypatch.context() as patched:

        def stuck(self: Client, model: str, version: str) -> None:
            if on_the_second(self) and version == "2.0":
                raise ServerError("stuck")
            set_default(self, model, version)

        patched.setattr(Client, "set_default", stuck)
        with pytest.raises(ServerError, match="stuck"):
            deploy(servers, second, steps.append)
    for each in servers:
        serves(each, "1.0")

    # One that somebody else is changing: nothing is begun.
    with lock_models(servers[1].folder), pytest.raises(ServerError, match="another command"):
        deploy(servers, second)
    for each in servers:
        serves(each, "1.0")

    release = deploy(servers, second, steps.append)
    assert f"{servers[0].folder}: version 2.0 is now the current version" in steps
    assert deploy(servers, second) == release
    for each in servers:
        serves(each, "2.0")
    assert rollback(servers, "pets").version == "1.0"
    for each in servers:
        serves(each, "1.0")


def test_servers_go_back_to_the_same_archive_or_none(
    servers: list[StandIn], make: Make, serves: Callable[..., None]
) -> None:
    deploy([servers[0]], make("2.0"))
    deploy(servers, make("3.0"))
    with pytest.raises(ServerError, match=r"different target versions \(pets-1\.0-.*pets-2\.0-"):
        rollback(servers, "pets")
    for each in servers:
        serves(each, "3.0")


def test_a_deploy_that_is_killed_between_two_servers(
    servers: list[StandIn],
    make: Make,
    said_by: SaidBy,
    serves: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
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
        patched.setattr(Deployment, "revert_switch", lambda *_: None)
        with pytest.raises(KilledError):
            deploy(servers, second)
    assert [said_by(each) for each in servers] == ["2.0", "1.0"]
    with pytest.raises(ServerError, match="there is no previous version to roll back to"):
        rollback(servers, "pets")
    deploy(servers, second)
    for each in servers:
        serves(each, "2.0")


def test_an_archive_that_is_not_as_it_was_made(make: Make, tmp_path: Path) -> None:
    made = make("1.0")

    def changed(name: str, content: bytes | None) -> Path:
        path = tmp_path / "changed.mar"
        with zipfile.ZipFile(made) as old, zipfile.ZipFile(path, "w") as new:
            for each in old.namelist():
                if each != name:
                    new.writestr(each, old.read(each))
            if content is not None:
                new.writestr(name, content)
        return path

    package = Package.verify(made)
    assert (package.model, package.version) == ("pets", "1.0")
    assert len(package.samples) == 4
    cases = [
        ("model.pt", b"other", r"not as it was made, or incomplete: model\.pt"),
        ("model.pt", None, r"not as it was made, or incomplete: model\.pt"),
        ("more.py", b"import os", r"not as it was made, or incomplete: more\.py"),
        ("checksums.json", None, r"lacks 'checksums\.json'; expected an archive that"),
        ("checksums.json", b"[", r"changed\.mar: "),
        ("checksums.json", b"[1, 2]", r"changed\.mar: "),
    ]
    for name, content, message in cases:
        with pytest.raises(ServerError, match=message):
            Package.verify(changed(name, content))
    named = json.loads(zipfile.ZipFile(made).read("MAR-INF/MANIFEST.json"))
    for field, value, message in (
        (
            "modelVersion",
            "../1",
            r"version: expected a number above 0 like 2 or 2\.1, got '\.\./1'",
        ),
        ("modelName", "../pets", r"expected a model's name of letters.* got '\.\./pets'"),
        ("handler", "other.py", r"not as it was made: there is no checksum of other\.py"),
    ):
        content = json.dumps({"model": {**named["model"], field: value}}).encode()
        with pytest.raises(ServerError, match=message):
            Package.verify(changed("MAR-INF/MANIFEST.json", content))
    for content in (made.read_bytes()[:1000], b""):
        (tmp_path / "short.mar").write_bytes(content)
        with pytest.raises(ServerError, match="damaged, or not an archive"):
            Package.verify(tmp_path / "short.mar")


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text('{"pets": {"serving": {"vers')
    with pytest.raises(ServerError, match=r"models\.json: damaged .*; remove it to start"):
        Record.load(tmp_path)
