"""The running server does what openapi.yaml says, with whatever schemathesis thinks up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from falconet.serving.server import Server
from tests.lengths import LONG

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.version_info < (3, 11), reason="there is no schemathesis for 3.10"),
]

EXAMPLES = 200 if LONG else 20  # of each operation


def test_the_server_is_as_its_description(server: Server, repository: Path, tmp_path: Path) -> None:
    configuration = Path(__file__).with_name("schemathesis")
    finished = subprocess.run(
        [
            str(Path(sys.executable).with_name("st")),
            *("--config-file", str(configuration / "schemathesis.toml")),
            *("run", str(repository / "serving" / "conf" / "openapi.yaml")),
            *("--url", server.client.inference),
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-color"),
            "--continue-on-failure",
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(configuration / "hooks.py")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    assert "Tested: 4" in finished.stdout
    # After all that it serves on, with the same worker.
    assert server.client.workers_ready("cifar10")
