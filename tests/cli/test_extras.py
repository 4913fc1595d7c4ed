"""Commands that lack what their extra would have installed."""

import subprocess
import sys
from importlib import metadata

import pytest

from falconet.cli.__main__ import PACKAGES, TRAINING, lacking, main
from falconet.cli.main import COMMANDS


@pytest.mark.parametrize(
    ("command", "module", "sentence"),
    [
        (
            "train",
            "torchvision",
            "falconet train: needs torchvision; pip install 'falconet[train]'",
        ),
        ("train", "torch.nn", "falconet train: needs torch; pip install 'falconet[train]'"),
        (
            "import",
            "torchvision",
            "falconet import: needs torchvision; pip install 'falconet[train]'",
        ),
        ("evaluate", "torch", "falconet evaluate: needs torch; pip install 'falconet[serve]'"),
        ("predict", "PIL", "falconet predict: needs pillow; pip install 'falconet[serve]'"),
        ("score", "pyarrow", "falconet score: needs pyarrow; pip install 'falconet[score]'"),
        ("score", "ray.data", "falconet score: needs ray; pip install 'falconet[cluster]'"),
        ("", "click", "falconet: needs click; pip install 'falconet[serve]'"),
        ("import", "somebody_elses", None),
    ],
)
def test_a_command_names_its_extra(command: str, module: str, sentence: str | None) -> None:
    assert lacking(module, command.split()) == sentence


def test_a_command_ends_with_that_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "falconet.training.tune", raising=False)
    monkeypatch.delattr("falconet.training.tune", raising=False)
    monkeypatch.setattr(sys, "argv", ["falconet", "tune", "fast94", "epochs=2..3"])
    with pytest.raises(SystemExit, match=r"falconet tune: needs optuna; .*'falconet\[train\]'"):
        main()


def test_what_no_extra_has_is_said_as_it_was_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr(sys, "argv", ["falconet", "import", "timm:resnet18", "--output", "out"])
    with pytest.raises(SystemExit, match="Error: timm: needs pip install timm"):
        main()


def test_the_names_are_those_of_commands_and_packages() -> None:
    assert set(COMMANDS) > TRAINING
    found = metadata.packages_distributions()
    for module, package in PACKAGES.items():
        assert [each.lower() for each in found[module]] == [package]


def test_the_extra_serve_is_enough_for_the_help_of_every_command() -> None:
    """Which imports them all."""
    program = (
        "import sys\n"
        "lacking = 'jinja2', 'matplotlib', 'optuna', 'pyarrow', 'torchvision'\n"
        "sys.modules |= dict.fromkeys(lacking)\n"
        "from falconet.cli.__main__ import main; sys.argv[1:] = ['--help']; main()"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert all(f"\n  {name} " in finished.stdout for name in COMMANDS)
