"""A model of one request per second that gets five, through the commands."""

import shutil
import threading
import time
from pathlib import Path

import pytest
import requests
import torch
from torch import Tensor, nn

from falconet.handler import ENTRY
from falconet.model.archive import Serving, archive
from falconet.serving.ports import free_ports
from tests.pets import Pets
from tests.serving.chaos import Stack, started

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx"), pytest.mark.long]

SECONDS_OF_A_REQUEST = 1.0
TIMEOUT_OF_A_RESPONSE = 10
OVERLOAD, OVERLOAD_SECONDS = 5, 30


class Slow(nn.Module):
    """Another model's answers, after as many products as take their time."""

    def __init__(self, model: nn.Module, products: int) -> None:
        super().__init__()
        self.model, self.products = model, products

    def forward(self, x: Tensor) -> Tensor:
        waste = torch.ones(256, 256)
        for _ in range(self.products):
            waste = torch.matmul(waste, waste).clamp(0.0, 1.0)
        logits: Tensor = self.model(x)
        return logits + waste.sum() * 0.0


def products_per_second() -> float:
    torch.set_num_threads(1)
    slow = torch.jit.script(Slow(nn.Identity(), 2000))
    began = time.perf_counter()
    slow(torch.ones(1))
    return 2000 / (time.perf_counter() - began)


@pytest.fixture
def slow(pets: Pets, tmp_path: Path) -> Path:
    exported = pets.exported("1.0")
    folder = tmp_path / "exported"
    shutil.copytree(exported, folder)
    model = torch.jit.load(str(exported / "model.pt"))
    products = int(SECONDS_OF_A_REQUEST * products_per_second())
    torch.jit.script(Slow(model, products)).save(str(folder / "model.pt"))
    made = tmp_path / "pets.mar"
    serving = Serving(workers=1, batch_size=1, precision="float32")
    archive(folder, made, handler=ENTRY, version="1.0", serving=serving)
    return made


class SlowStack(Stack):
    """With a short timeout, and the gateway's metrics."""

    limits = ("--timeout", TIMEOUT_OF_A_RESPONSE)

    def gateway(self, port: int) -> tuple[object, ...]:
        (self.metrics_port,) = free_ports(1)
        return super().gateway(port)

    def concurrency(self) -> float:
        """How many requests are let in at a time."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        lines = requests.get(url, timeout=60).text.splitlines()
        name = "falconet_gateway_concurrent_requests_limit{"
        return float(next(line for line in lines if line.startswith(name)).split()[-1])


def test_it_is_overloaded(slow: Path, image: bytes, tmp_path: Path) -> None:
    """Who is let in is answered in time, all others at once, and it stays ready."""
    stack = SlowStack(slow, tmp_path, image)
    with started(stack):
        deadline = time.monotonic() + 60
        # While nobody asks, the gateway does, which is how it learns what a request takes.
        while stack.concurrency() > TIMEOUT_OF_A_RESPONSE:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        clients, unready = [], 0
        for _ in range(OVERLOAD * OVERLOAD_SECONDS):
            client = threading.Thread(target=lambda: stack.answers.update([stack.ask()]))
            client.start()
            clients.append(client)
            unready += not stack.ready()
            time.sleep(1 / OVERLOAD)
        for client in clients:
            client.join()
        assert stack.answers.keys() == {"1.0", "429"}, stack.answers
        assert stack.answers["1.0"] >= OVERLOAD_SECONDS * SECONDS_OF_A_REQUEST / 3, stack.answers
        assert unready == 0
