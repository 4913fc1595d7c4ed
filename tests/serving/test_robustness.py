"""What is promised while something goes wrong with a server or its clients: `benchmarks/faults`,
in short, on one real server behind a real gateway.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from benchmarks.faults import death, neighbours
from benchmarks.faults.figures import lost
from benchmarks.faults.slow import SlowClients
from benchmarks.faults.stack import KEYS, Stack
from benchmarks.load_generator.generator import Generator
from benchmarks.soak.troubles import soak
from benchmarks.task import Task
from falconet.serving.limits import Limits
from falconet.serving.processes import processes_of
from falconet.serving.rollout import deploy
from tests.lengths import LONG

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx")]

RATE = 30.0  # requests a second, which a busy machine can do too
PAUSE = 1.5  # seconds
HOSTILE, GOOD = (1000, 500) if LONG else (200, 100)


@pytest.fixture(scope="module")
def stack(
    exported: Path, samples: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    task = Task.of("cifar", exported, [path.read_bytes() for path in samples])
    with Stack.run(task, tmp_path_factory.mktemp("stack")) as running:
        yield running


def test_hostile_requests_fail_alone(stack: Stack) -> None:
    found = neighbours.measure(stack, RATE, HOSTILE, GOOD)
    assert found["unfair_examples"] == []
    assert found["failed"] == {}
    assert found["good"] >= GOOD
    assert found["hostile"] >= HOSTILE
    assert len(found["statuses"]) >= 14
    assert (found["died"], found["ready"]) == (0, True)


def test_forms_are_read_behind_the_gateway(stack: Stack) -> None:
    """Where TorchServe would say 500."""
    url = f"http://127.0.0.1:{stack.port}/predict"
    image = stack.task.images[4]
    part = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    for kind, body, status in (
        ("multipart/form-data; boundary=b", part + image + b"\r\n--b--\r\n", 200),
        ("multipart/form-data; boundary=b", part + image, 400),
        ("multipart/form-data; boundary=", part + image + b"\r\n--b--\r\n", 400),
        ("multipart/form-data; boundary=b", part.replace(b"image", b"") + b"\r\n--b--", 400),
        ("application/x-www-form-urlencoded", image, 200),  # curl --data-binary
        ("application/x-www-form-urlencoded", b"image=%%%", 415),
    ):
        headers = {"X-Api-Key": KEYS[0], "Content-Type": kind}
        answer = requests.post(url, data=body, headers=headers, timeout=60)
        assert answer.status_code == status, answer.text
        assert answer.json()["success"] == (status == 200)


def test_more_than_can_be_answered_is_told_to_come_again(stack: Stack) -> None:
    connections = 3 * Limits().max_concurrency
    with Generator(stack.served.target, None, connections, seconds=1.5) as generator:
        answers = generator.wait().answers
    refused = lost(stack.served, answers)
    assert {(answer.status, answer.retry_after) for answer in refused} == {(429, "1")}
    assert all(json.loads(answer.body)["error"]["code"] == 429 for answer in refused)
    assert len(answers) > len(refused) > 0
    with Generator(stack.served.target, RATE, seconds=1.0) as generator:
        assert not lost(stack.served, generator.wait().answers)


def test_large_requests_leave_java_its_memory(stack: Stack) -> None:
    """More of them at a time than its heap would hold: it would end, and answer nobody."""
    url = f"http://127.0.0.1:{stack.port}/predict"
    whole = bytes(19_000_000)
    java = stack.java()

    def ask(number: int) -> int:
        size = (19_000_000, 4_500_000, 2_000_000, 900_000)[number % 4]
        body = memoryview(whole)[:size]
        # Every eighth in pieces, which does not say how much it is.
        data = iter([body[: size // 2], body[size // 2 :]]) if number % 8 == 0 else body
        headers = {"X-Api-Key": KEYS[number % len(KEYS)]}
        return requests.post(url, data=data, headers=headers, timeout=60).status_code

    with Generator(stack.served.target, RATE) as generator, ThreadPoolExecutor(100) as pool:
        statuses = set(pool.map(ask, range(200)))
        answers = generator.stop().answers
    assert statuses == {415, 429}
    assert not lost(stack.served, answers)
    assert java.is_running()


def test_slow_clients_hold_up_nobody(stack: Stack) -> None:
    some = stack.served.target.requests[:8]
    with (
        SlowClients(stack.port, some, 2 * Limits().max_concurrency, 4) as clients,
        Generator(stack.served.target, RATE, seconds=14.0 if LONG else 3.0) as generator,
    ):
        answers = generator.wait().answers
    assert len(answers) > RATE
    assert not lost(stack.served, answers)
    if LONG:
        # Who takes more than ten seconds for headers, or to read anything, is sent away.
        assert clients.ended > 0
        assert clients.given_up > 0


@pytest.mark.long
def test_all_troubles_at_once(stack: Stack) -> None:
    found = soak(stack, 20.0, RATE, deploy_every=5.0, kill_every=2.0)
    assert found["errors"] == []
    assert found["lost_otherwise"] == 0, found["lost"]
    assert found["unfair"] == 0
    assert found["deploys"] >= 1
    assert found["kills"] >= 1
    assert found["hostile"] > 0


@pytest.mark.long
def test_a_killed_server_says_so_and_serves_again_what_was_deployed(stack: Stack) -> None:
    deploy([stack.server], stack.release("3.0"))
    found = death.kill_java(stack, RATE, PAUSE)
    assert found["served"] == ["3.0", "3.0"]
    assert (found["unclear"], found["lost_before"]) == (0, 0)
    assert "503" in found["lost"]
    assert found["orphans"] == 0


def test_a_killed_worker_takes_only_what_it_had_in_hand(stack: Stack) -> None:
    pids = stack.pids()
    found = death.kill_workers(stack, 100.0, 1, PAUSE)
    (killed,) = found["kills"]
    assert killed["lost"] <= death.BATCH
    assert (found["unclear"], found["lost_before"]) == (0, 0)
    assert len(pids - stack.pids()) == 1


def test_what_a_killed_server_leaves_is_removed_when_it_is_started_again(stack: Stack) -> None:
    """A worker that is stuck does not notice that its server is gone."""
    dead = stack.server
    stuck = stack.workers()[0]
    stuck.suspend()
    stack.java().kill()
    deadline = time.monotonic() + 60
    while dead.running() or len(processes_of(dead.temporary)) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert processes_of(dead.temporary) == [stuck]
    stack.restart()
    assert processes_of(dead.temporary) == []
    assert not dead.temporary.exists()
    stack.server.wait_loaded()
    with Generator(stack.served.target, RATE, seconds=1.0) as generator:
        answers = generator.wait().answers
    assert not lost(stack.served, answers)
