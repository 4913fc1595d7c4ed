"""Nodes of a Ray cluster on this machine, in processes of their own."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

OBJECT_STORE = 100_000_000  # bytes of each node


class RayNodes(NamedTuple):
    """A cluster.

    Attributes:
        address: of its head.
        environment: of processes that use it: without the token in it, they are refused.
    """

    address: str
    environment: Mapping[str, str]


@contextmanager
def ray_nodes(cores: Sequence[int]) -> Iterator[RayNodes]:
    """A cluster with so many cores on each of its nodes, until the end of the context."""
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, *map(str, cores)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError("the Ray cluster did not start; see the messages above")
        yield RayNodes(address, environment)
    finally:
        process.stdin.close()  # which ends it
        process.wait()
        process.stdout.close()


def main() -> None:
    # Ray reads the token when it is imported.
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for count in sys.argv[1:]:
            cluster.add_node(num_cpus=int(count), object_store_memory=OBJECT_STORE)
        cluster.wait_for_nodes()
        print(cluster.address, flush=True)
        sys.stdin.read()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
