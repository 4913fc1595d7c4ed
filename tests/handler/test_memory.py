"""What a worker holds, measured."""

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from benchmarks.faults.damage import black
from benchmarks.worst.__main__ import context, forget_peak, peak
from falconet.handler.service import Service

SIDE = 3500
IMAGES = 16


def grown(folder: Path, connection: Connection) -> None:
    """Tell by how much this process grows for a batch, and how many images it answers."""
    service = Service(context(folder, []))
    service.max_pixels = SIDE * SIDE
    batch = [{"body": bytearray(black(SIDE))} for _ in range(IMAGES)]
    service.handle(batch[:1], context(folder, [{}]))  # what is made once, for all
    forget_peak()
    before = peak()
    asked = context(folder, [{}] * IMAGES)
    service.handle(batch, asked)
    answered = sum(asked.get_response_status(i)[0] == 200 for i in range(IMAGES))
    connection.send((peak() - before, answered))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_a_batch_of_large_images_is_not_held_as_a_whole(exported: Path) -> None:
    """Two images at a time, at most, and what Pillow and the engine hold beside them."""
    here, there = multiprocessing.Pipe()
    spawned = multiprocessing.get_context("spawn").Process(target=grown, args=(exported, there))
    spawned.start()
    there.close()
    memory, answered = here.recv()
    spawned.join()
    one = 3 * SIDE * SIDE
    assert answered == IMAGES
    assert memory < 4 * one
    assert IMAGES * one > 2 * 4 * one  # which a batch that is held would take
