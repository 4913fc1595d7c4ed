"""docs/operations.md, followed word for word."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import PATH

BLOCK = re.compile(r"(<!-- left out: [^\n]* -->\n)?```console\n(.*?)```", re.DOTALL)
PROGRAMS = ("unshare", "ip", "openssl", "curl", "nginx", "taskset")


def commands(page: Path) -> list[str]:
    """All that stands after a dollar, but for blocks that say why they are left out."""
    return [
        line.removeprefix("$ ")
        for reason, block in BLOCK.findall(page.read_text())
        if not reason
        for line in block.splitlines()
    ]


@pytest.mark.long
@pytest.mark.server
@pytest.mark.needs(*PROGRAMS)
def test_the_runbook_can_be_followed(repository: Path, tmp_path: Path) -> None:
    # A network of its own, where the ports that the page names are free; and processes of its own,
    # none of which outlives the first.
    alone = ["unshare", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]
    # On one core, where a model has one worker.
    alone += ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make namespaces")
    found = commands(repository / "docs" / "operations.md")
    assert len(found) > 10
    for name in ("tests", "deploy"):
        (tmp_path / name).symlink_to(repository / name)
    script = ["set -e", "ip link set lo up", "set -x", *found]
    done = subprocess.run(
        [*alone, "bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{PATH}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert '"label":"ship"' in said.replace(" ", "")
    assert "deployed 2.0 (cifar10-2.0-" in said
    assert "deployed 1.0 (cifar10-1.0-" in said
    assert 'falconet_requests_total{model_name="cifar10"' in said
    assert "stopped cifar10" in said
