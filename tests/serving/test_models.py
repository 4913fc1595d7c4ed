"""Several models on one server: how they are added, taken away and shared out, in all branches.

On stand-ins for TorchServe; test_several.py shows the same of a real one.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from falconet.cli.main import main
from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.model.samples import Sample
from falconet.serving import deployment, memory, routes
from falconet.serving.canary import Trial, canary
from falconet.serving.client import Client
from falconet.serving.deployment import Deployment
from falconet.serving.drain import Drain
from falconet.serving.errors import ServerError
from falconet.serving.package import Package
from falconet.serving.record import FILE_NAME, Record, Release, read
from falconet.serving.rollout import deploy, rollback, undeploy
from falconet.serving.routes import Routes
from falconet.serving.server import Server
from falconet.serving.smoke import answered
from falconet.serving.split import Split
from falconet.serving.store import identify
from tests import stand_in as standing
from tests.stand_in import StandIn

Make = Callable[..., Path]


class KilledError(BaseException):
    pass


@pytest.fixture
def cats(make: Make) -> Path:
    return make("5.0", model="cats")


@pytest.fixture
def server(stand_in: Callable[..., StandIn]) -> StandIn:
    return stand_in()


@pytest.fixture
def both(stand_in: Callable[..., StandIn], cats: Path) -> StandIn:
    """With pets 1.0 and cats 5.0."""
    return stand_in(also=[cats])


def serves(server: StandIn, **versions: str) -> None:
    """It serves these models, and nothing of any other change is left."""
    assert server.models == list(versions)
    assert set(server.interfaces.models) == set(versions)
    records = Record.load(server.folder)
    for model, version in versions.items():
        assert [each["modelVersion"] for each in server.client.versions(model)] == [version]
        record = records.pop(model)
        assert (record.serving.version, record.coming, record.leaving) == (version, None, None)
    assert not records
    files = {file for each in Record.load(server.folder).values() for file in each.files()}
    assert {path.name for path in server.store.iterdir()} == files


@contextmanager
def gateway(server: StandIn, default: str) -> Iterator[list[list[str]]]:
    """In place of nginx: follows the record, and tells for which models it has passed on."""
    server.gateway.mkdir(exist_ok=True)
    passed: list[list[str]] = []

    def follow() -> None:
        records = Record.load(server.folder)
        splits = {name: each.split for name, each in records.items() if each.admitted}
        Routes(default, splits).save(server.gateway)
        if passed[-1:] != [list(splits)]:
            passed.append(list(splits))

    over = threading.Event()

    def follow_on() -> None:
        while not over.wait(0.01):
            follow()

    follow()
    thread = threading.Thread(target=follow_on)
    thread.start()
    try:
        yield passed
    finally:
        over.set()
        thread.join()
        Routes.forget(server.gateway)


def test_a_model_is_added_and_taken_away(server: StandIn, make: Make, cats: Path) -> None:
    steps: list[str] = []
    with gateway(server, "pets") as passed:
        deploy([server], cats, steps.append)
        serves(server, pets="1.0", cats="5.0")
        assert steps[1:3] == [
            "adding the model cats; the server has pets",
            "starting version 5.0 (workers: 1)",
        ]
        # From then on it is replaced as the first one is, each by itself.
        deploy([server], make("6.0", model="cats"))
        deploy([server], make("2.0"))
        rollback([server], "cats")
        serves(server, pets="2.0", cats="5.0")
        undeploy([server], "cats", steps.append)
        assert steps[-1] == "removed cats"
    assert passed == [["pets"], ["pets", "cats"], ["pets"]]
    serves(server, pets="2.0")
    # Without a gateway too; what an archive leaves open is a share of the server's four workers.
    for model, workers in (("cats", 2), ("fish", 1), ("dogs", 1)):
        deploy([server], make("5.0", model=model, workers=0))
        assert len(server.client.describe(model)["workers"]) == workers
    assert len(server.client.describe("pets")["workers"]) == 1
    undeploy([server], "fish")
    serves(server, pets="2.0", cats="5.0", dogs="5.0")


def test_a_model_that_cannot_be_added_leaves_the_others(
    server: StandIn,
    cats: Path,
    pets: Any,
    image: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(made: Path, message: str) -> None:
        with pytest.raises(ServerError, match=message):
            deploy([server], made)
        serves(server, pets="1.0")

    unlike = tmp_path / "cats.mar"
    known = [Sample(image, "2.0 dog", 0.123)]
    archive(pets.exported("2.0"), unlike, handler=ENTRY, version="4.0", known=known)
    refused(unlike, r"cats 4\.0: expected 2\.0 dog with probability 0\.123 for sample 0, got")
    server.interfaces.dying.add("5.0")
    refused(cats, r"cats 5\.0: a worker died while it loaded the model")
    server.interfaces.dying.clear()
    with monkeypatch.context() as patched:
        patched.setattr(memory, "available_memory", lambda: 100_000_000)
        refused(cats, r"expected 32\d MB of free memory, found 100 MB: cats 1 x 32\d MB for its wo")
    deploy([server], cats)
    serves(server, pets="1.0", cats="5.0")


def test_all_of_several_servers_have_it_or_none(
    stand_in: Callable[..., StandIn], make: Make, cats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = [stand_in(name) for name in ("a", "b")]
    register = Client.register

    def failing(self: Client, *arguments: Any) -> None:
        register(self, *arguments)
        if self.inference == servers[1].client.inference:
            raise ServerError("no luck here")

    switch = Deployment.switch

    def stuck(self: Deployment) -> None:
        if self.server.folder == servers[1].folder:
            raise ServerError("no luck here")
        switch(self)

    for owner, name, broken in ((Client, "register", failing), (Deployment, "switch", stuck)):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, broken)
            with pytest.raises(ServerError, match="no luck here"):
                deploy(servers, cats)
        for each in servers:
            serves(each, pets="1.0")
    # Where one has it already, it comes to the other.
    deploy(servers[:1], cats)
    deploy(servers, make("6.0", model="cats"))
    for each in servers:
        serves(each, pets="1.0", cats="6.0")
    # Likewise where one has lost it already.
    undeploy(servers[1:], "cats")
    undeploy(servers, "cats")
    for each in servers:
        serves(each, pets="1.0")


def test_a_trial_of_samples_is_said() -> None:
    sample = Sample(b"", "cat", 0.9)
    generated = 8 * (replace(sample, made=True),)
    for samples, said in (
        ((sample,), "gives the expected predictions for 1 sample"),
        (generated, "gives the expected predictions for 8 generated images"),
        ((), "gives a prediction; its archive has no samples to compare with"),
    ):
        assert answered(Package("pets", "1.0", samples)) == said


def test_what_may_not_be_taken_away_is_said(both: StandIn) -> None:
    def refused(model: str, message: str) -> None:
        with pytest.raises(ServerError, match=message):
            undeploy([both], model)
        serves(both, pets="1.0", cats="5.0")

    refused("dogs", r"no model dogs on this server; it has pets, cats$")
    with gateway(both, "cats"):
        refused("cats", r"cats is the default model of the gateway .* --default first")
        undeploy([both], "pets")
    with pytest.raises(ServerError, match=r"cats is the only model .* falconet stop"):
        undeploy([both], "cats")
    serves(both, cats="5.0")


def test_a_model_that_is_still_asked_is_kept(
    both: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(deployment, "ASKED_SECONDS", 0.1)
        patched.setattr(standing, "RESPONSE_TIMEOUT", 0.1)
        patched.setattr(Drain, "finished", lambda _: False)
        with pytest.raises(
            ServerError, match=r"cats 5\.0 still receives requests that bypass the gateway or"
        ):
            undeploy([both], "cats")
    serves(both, pets="1.0", cats="5.0")
    # As if the gateway had been killed.
    both.gateway.mkdir()
    Routes("pets", {"pets": Split(), "cats": Split()}).save(both.gateway)
    with monkeypatch.context() as patched:
        patched.setattr(routes, "FOLLOW_SECONDS", 0.1)
        with pytest.raises(
            ServerError, match=r"did not update the route of cats within 0 s .*; see its logs"
        ):
            undeploy([both], "cats")
    serves(both, pets="1.0", cats="5.0")


def test_a_version_that_is_still_asked_is_kept_until_the_command_is_repeated(
    server: StandIn, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pets2 = make("2.0")
    with monkeypatch.context() as patched:
        patched.setattr(deployment, "DRAIN_SECONDS", 0.1)
        patched.setattr(Drain, "finished", lambda _: False)
        with pytest.raises(ServerError, match=r"pets 1\.0 still receives requests .* name this"):
            deploy([server], pets2)
    assert len(server.client.versions("pets")) == 2
    deploy([server], pets2)
    serves(server, pets="2.0")


def test_a_model_is_served_though_the_gateway_does_not_follow(
    server: StandIn, cats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gateway.mkdir()
    Routes("pets", {"pets": Split()}).save(server.gateway)
    monkeypatch.setattr(routes, "FOLLOW_SECONDS", 0.1)
    message = (
        r"cats 5\.0 is deployed and serves, but the gateway does not pass on requests for it yet: "
        r"the gateway with .* did not update the route of .* within 0 s"
    )
    with pytest.raises(ServerError, match=message):
        deploy([server], cats)
    serves(server, pets="1.0", cats="5.0")


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_killed_is_repeated_or_forgotten(
    stand_in: Callable[..., StandIn],
    server: StandIn,
    cats: Path,
    monkeypatch: pytest.MonkeyPatch,
    restarted: bool,
) -> None:
    """As if by SIGKILL: nothing of it cleans up."""
    steps: list[str] = []

    def killed(*_: object) -> None:
        raise KilledError

    def again() -> StandIn:
        if not restarted:
            return server
        server.stop()
        return stand_in()

    with monkeypatch.context() as patched:
        for step in ("switch", "revert_switch", "undo"):
            patched.setattr(Deployment, step, killed)
        with pytest.raises(KilledError):
            deploy([server], cats)
    assert Record.load(server.folder)["cats"].purpose == "add"
    assert server.models == ["pets"]
    server = again()
    if restarted:
        serves(server, pets="1.0")
    deploy([server], cats, steps.append)
    assert restarted or "reverting an interrupted change of cats" in steps
    serves(server, pets="1.0", cats="5.0")

    note = Deployment._note
    with monkeypatch.context() as patched:
        patched.setattr(Deployment, "_wait_until_drained", killed)
        patched.setattr(
            Deployment, "_note", lambda self, each: None if each.admitted else note(self, each)
        )
        with pytest.raises(KilledError):
            undeploy([server], "cats")
    assert Record.load(server.folder)["cats"].purpose == "undeploy"
    server = again()
    if restarted:
        with pytest.raises(ServerError, match="no model cats on this server; it has pets"):
            undeploy([server], "cats")
    else:
        undeploy([server], "cats", steps.append)
        assert "completing an interrupted change of cats" in steps
    serves(server, pets="1.0")


def test_a_server_starts_again_with_what_its_record_says(
    both: StandIn, stand_in: Callable[..., StandIn], make: Make, cats: Path, given: Path
) -> None:
    deploy([both], make("2.0"))
    deploy([both], make("7.0", model="fish"))
    undeploy([both], "cats")
    both.stop()
    again = stand_in(also=[cats])
    serves(again, pets="2.0", fish="7.0")
    again.stop()
    # In another order they are the same archives.
    again = StandIn.begin([cats, given], both.folder)
    serves(again, pets="2.0", fish="7.0")
    again.stop()
    # Others are not, nor are fewer.
    serves(stand_in(), pets="1.0")


def test_two_archives_of_one_model_are_refused(
    stand_in: Callable[..., StandIn], make: Make
) -> None:
    with pytest.raises(ServerError, match="expected one archive of each model, got two of pets"):
        stand_in(also=[make("2.0")])


def test_a_record_of_the_version_before_is_read(
    server: StandIn, stand_in: Callable[..., StandIn], make: Make, given: Path
) -> None:
    """It was of one model, and each record held what was given."""
    deployed = deploy([server], make("2.0"))
    server.stop()
    old = json.loads((server.folder / FILE_NAME).read_text())["models"]
    first = identify(given)
    old["pets"] |= {"given": first.file, "previous": old["pets"].pop("earlier")[0]}
    (server.folder / FILE_NAME).write_text(json.dumps(old))
    found = read(server.folder)
    assert found.given == [first.file]
    assert found.models == {"pets": Record(deployed, earlier=(Release("1.0", first.file),))}
    serves(stand_in(), pets="2.0")


def test_a_trial_is_of_a_model_that_runs(both: StandIn, make: Make) -> None:
    with pytest.raises(
        ServerError, match=r"no model fish on this server; it has pets, cats; .*: falconet deploy"
    ):
        canary(both, make("7.0", model="fish"), Trial())
    # That it asks for a gateway is the next step.
    with pytest.raises(ServerError, match="no gateway runs with"):
        canary(both, make("6.0", model="cats"), Trial())
    serves(both, pets="1.0", cats="5.0")


def test_commands_name_a_model_where_there_are_several(
    both: StandIn, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "find", lambda folder: both if folder == both.folder else None)

    def run(*arguments: object) -> str:
        return CliRunner().invoke(main, [*map(str, arguments), "--state", str(both.folder)]).output

    several = "Error: expected the name of a model, as several run: pets, cats\n"
    assert run("rollback") == run("scale", "2") == several
    assert (
        run("scale", "2", "--model", "dogs")
        == "Error: no model dogs on this server; it has pets, cats\n"
    )
    with monkeypatch.context() as patched:
        patched.setattr(memory, "available_memory", lambda: 100_000_000)
        # Of two more, as one runs already.
        refused = run("scale", "3", "--model", "cats")
        assert refused.startswith("Error: expected 64"), refused
        assert "cats 2 x 320 MB" in refused
    assert run("scale", "2", "--model", "cats") == "cats: 2 workers\n"
    run("deploy", make("6.0", model="cats"))
    listed = json.loads(run("models", "--json"))
    found = {each["model"]: (each["version"], each["workers"]) for each in listed}
    assert found == {"pets": ("1.0", 1), "cats": ("6.0", 1)}
    assert run("rollback", "cats").splitlines()[-1].startswith("deployed 5.0 (cats-5.0-")
    status = json.loads(run("status", "--json"))
    assert (status["ready"], status["models"]) == (True, ["pets", "cats"])
    assert [worker["model"] for worker in status["workers"]] == ["pets", "cats"]
    assert run("status").startswith("pets, cats: ready\n")
    # Ready is what all of them are.
    both.interfaces.dying.add("5.0")
    assert json.loads(run("status", "--json"))["ready"] is False
    both.interfaces.dying.clear()
    assert run("undeploy", "cats") == "removed cats\n"
    assert run("scale", "3") == "pets: 3 workers\n"
