"""The examples of docs/for-client-developers.md, executed against a real server and gateway."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from falconet.serving.server import Server
from tests.described_gateway import described_gateway
from tests.programs import PATH
from tests.repo.pages import FENCE

URL = "https://images.example.com"

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx")]


@pytest.fixture(scope="module")
def url(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with described_gateway(server, tmp_path_factory.mktemp("gateway"), "KEY") as gateway:
        yield f"http://127.0.0.1:{gateway.port}"


@pytest.fixture
def examples(
    repository: Path, samples: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> dict[str, list[str]]:
    """Code blocks by language, for the server that runs, in a folder with the images they name."""
    for name in ("cat", "dog"):
        sample = next(each for each in samples if each.stem.endswith(name))
        shutil.copy(sample, tmp_path / f"{name}.jpg")  # the content is what counts
    monkeypatch.chdir(tmp_path)
    found: dict[str, list[str]] = {}
    text = (repository / "docs" / "for-client-developers.md").read_text()
    for language, block in FENCE.findall(text):
        found.setdefault(language, []).append(block.replace(URL, url))
    return found


def test_the_python_runs(
    examples: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    one, batch, coroutines, errors = examples["python"]
    names: dict[str, object] = {}
    exec(one, names)
    assert capsys.readouterr().out.startswith("cat 0.")
    exec(batch, names)
    assert names["labels"] == ["cat", "dog"]
    exec(coroutines, names)
    assert [each.label for each in names["results"]] == ["cat", "dog"]  # type: ignore[attr-defined]
    exec(errors, names)
    assert names["status"] == 415
    assert re.fullmatch("[0-9a-f]{32}", str(names["request_id"]))


@pytest.mark.needs("curl")
def test_the_commands_run(examples: dict[str, list[str]]) -> None:
    (block,) = examples["console"]
    said = []
    for line in block.splitlines():
        done = subprocess.run(
            ["bash", "-c", line.removeprefix("$ ")],
            env={**os.environ, "PATH": PATH, "no_proxy": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        said.append(done.stdout)
    form, body, models, description = said
    for response in (form, body):
        assert json.loads(response)["predictions"][0]["label"] == "cat"
    assert "cifar10" in models
    assert "/v2/models/{model}/infer" in description
