"""What README.md shows is there, and works; also the spec of docs/models.md."""

import re
from pathlib import Path

import pytest

from falconet.cli.main import COMMANDS
from falconet.model.spec import Spec
from falconet.serving.server import Server


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text()


def block(readme: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)
    return str(found)


def test_the_spec_is_one(repository: Path) -> None:
    models = (repository / "docs" / "models.md").read_text()
    assert Spec.from_json(block(models, "json")).classes == ("cat", "dog")


def test_the_python_runs(
    readme: str, server: Server, samples: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.client.inference
    program = block(readme, "python").replace("http://127.0.0.1:8080", url)
    exec(program.replace("cat.jpg", str(samples[4])).replace("pets", "cifar10"), {})
    assert capsys.readouterr().out == "frog\n"


def test_the_commands_and_targets_exist(readme: str, repository: Path) -> None:
    commands = set(re.findall(r"`falconet ([a-z]+)", readme))
    assert {"deploy", "doctor", "gateway", "migrate"} <= commands <= set(COMMANDS)
    targets = set(re.findall(r"make ([a-z]+)", readme))
    makefile = (repository / "Makefile").read_text()
    assert {"serve", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}: .*## ", makefile, re.MULTILINE), target


def test_the_files_exist(readme: str, repository: Path) -> None:
    links = set(re.findall(r"\]\(([^)]+)\)", readme))
    curled = set(re.findall(r"image=@(tests/\S+)", readme))
    assert len(links) >= 4
    assert len(curled) == 1
    for name in links | curled:
        path, _, section = name.partition("#")
        assert (repository / path).exists(), name
        if section:
            headings = re.findall(r"^#+ (.+)$", (repository / path).read_text(), re.M)
            assert section in {heading.lower().replace(" ", "-") for heading in headings}, name
    # The image shown is the one that `make serve` names.
    assert f"--image {curled.pop()}" in (repository / "Makefile").read_text()
