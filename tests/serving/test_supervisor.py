"""A gateway whose server goes and comes, and what else may fail meanwhile; on a stand-in."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from falconet.client import Client, ClientError, Retry
from falconet.serving.errors import ServerError
from falconet.serving.gateway import Gateway
from falconet.serving.lease import Lease
from falconet.serving.ports import free_ports
from falconet.serving.record import FILE_NAME, Record
from falconet.serving.routes import Routes
from falconet.serving.server import Server
from falconet.serving.split import Split
from falconet.serving.supervisor import supervise
from tests.stand_in import StandIn

pytestmark = pytest.mark.needs("nginx")

TIMEOUT = 60
KEY = {"X-Api-Key": "abc"}
Begin = Callable[..., StandIn]


class Place:
    """Where a server may be, and a gateway before it.

    Attributes:
        server: that runs now.
        said: what the supervision said.
        url: of the gateway.
    """

    def __init__(self, server: StandIn, image: bytes, keys: Path) -> None:
        self.server: Server | None = server
        self.said: list[str] = []
        self.image = image
        self.state = server.folder
        (port,) = free_ports(1)
        self.gateway = Gateway.start(
            server.gateway, server.ports.inference, ["pets"], keys, port=port
        )
        self.url = f"http://127.0.0.1:{port}"
        self._thread = threading.Thread(target=self._supervise)
        self._thread.start()

    def _supervise(self) -> None:
        try:
            supervise(
                self.state,
                lambda: self.server,
                self.gateway,
                self.image,
                self.said.append,
                poll_seconds=0.05,
            )
        except ServerError as error:
            self.said.append(str(error))

    def ask(self) -> requests.Response:
        return requests.post(f"{self.url}/predict", data=self.image, headers=KEY, timeout=TIMEOUT)

    def wait_ready(self, expected: bool) -> None:
        self.wait(
            lambda: requests.get(f"{self.url}/ready", timeout=TIMEOUT).ok == expected,
            f"ready: {expected}",
        )

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, (what, self.said)
            time.sleep(0.02)

    def stop(self) -> None:
        self.gateway.child.terminate()
        self._thread.join()
        self.gateway.stop()


@pytest.fixture
def place(stand_in: Begin, image: bytes, tmp_path: Path) -> Iterator[Place]:
    keys = tmp_path / "keys"
    keys.write_text("abc me\n")
    made = Place(stand_in(), image, keys)
    yield made
    made.stop()
    assert made.said[-1].startswith("nginx has ended; see ")


def test_a_server_that_goes_and_comes_on_other_ports(place: Place, stand_in: Begin) -> None:
    place.wait_ready(True)
    gone = place.server
    assert isinstance(gone, StandIn)
    gone.stop()
    place.server = None
    place.wait_ready(False)
    answer = place.ask()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert place.said == ["no server runs; requests get status 503 until one does"]
    place.server = stand_in()
    assert place.server.ports != gone.ports
    place.wait_ready(True)

    def answered() -> bool:
        once = Retry(attempts=1)
        with Client(place.url, api_key="abc", retry=once) as client, suppress(ClientError):
            return client.predict(place.image).label != ""
        return False

    # nginx starts other worker processes for that.
    place.wait(answered, "asked at its new port")
    assert place.said[1:] == ["all checks succeed again"]


def test_a_damaged_record_is_said_and_changes_nothing(place: Place) -> None:
    place.wait_ready(True)
    record = place.state / FILE_NAME
    whole = record.read_text()
    record.write_text(whole[:20])
    place.wait(lambda: bool(place.said), "said")
    assert "models.json: damaged" in place.said[0]
    time.sleep(0.5)
    place.wait_ready(True)
    assert Routes.load(place.gateway.folder) == Routes("pets", {"pets": Split()})
    record.write_text(whole)
    place.wait(lambda: len(place.said) == 2, "as it should be")


def test_a_full_disk_is_said_and_the_gateway_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.wait_ready(True)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Gateway, "set_routes", full)
        patched.setattr(Gateway, "set_ready", full)
        place.wait(lambda: bool(place.said), "said")
    assert "No space left on device" in place.said[0]
    place.wait(lambda: len(place.said) == 2, "as it should be")
    place.wait_ready(True)


def test_a_share_ends_with_the_command_that_gives_it(place: Place) -> None:
    """As after a kill, or where it hangs: nobody renews the lease."""
    place.wait_ready(True)
    before = Record.load(place.state)["pets"]
    coming = replace(before.serving, version="2.0")
    replace(before, coming=coming, percent=40, lease=Lease.for_now(0.5)).save(place.state, "pets")

    def share() -> Split:
        found = Routes.load(place.gateway.folder)
        assert found is not None
        return found.splits["pets"]

    place.wait(lambda: share() == Split("2.0", 40), "shared")
    place.wait(lambda: share() == Split(), "over")
    assert place.said == []


def test_a_log_that_cannot_be_copied_is_truncated_all_the_same(place: Place) -> None:
    log = place.gateway.folder / "access.log"
    (place.gateway.folder / "access.log.1").mkdir()  # where the copy would be
    place.ask()
    place.wait(lambda: log.stat().st_size > 0, "logged")
    place.gateway.rotate(size=1)
    assert log.stat().st_size == 0
