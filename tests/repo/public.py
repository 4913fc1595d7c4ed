"""What is public, see docs/stability.md; `python -m tests.repo.public` writes public.json anew."""

import importlib
import inspect
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from falconet.cli.main import main as commands
from falconet.cli.option import RenamedOption
from falconet.model.spec import Spec

FILE = Path(__file__).with_name("public.json")
MODULES = ("falconet.client", "falconet.native")


def found() -> dict[str, Any]:
    """All public names."""
    return {
        "commands": dict(_commands(commands, "falconet")),
        "spec": sorted(each.name for each in fields(Spec)),
        "python": {module: _names(module) for module in MODULES},
    }


def _commands(command: click.Command, name: str) -> list[tuple[str, list[str]]]:
    """Each command with its options; earlier names of options are not public."""
    options = []
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            names = [*parameter.opts, *parameter.secondary_opts]
            earlier = parameter.formerly if isinstance(parameter, RenamedOption) else ""
            options += [each for each in names if each.startswith("--") and each != earlier]
    listed = [(name, sorted(options))]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            assert inner is not None
            listed += _commands(inner, f"{name} {each}")
    return listed


def _names(module: str) -> dict[str, list[str]]:
    """What a module exports, each with the parameters of its call, where Python knows them."""
    imported = importlib.import_module(module)
    return {name: _parameters(getattr(imported, name)) for name in sorted(imported.__all__)}


def _parameters(value: Any) -> list[str]:
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return []
    try:
        return [name for name in inspect.signature(value).parameters if name != "self"]
    except ValueError:  # of an exception that takes any
        return []


if __name__ == "__main__":
    FILE.write_text(json.dumps(found(), indent=1) + "\n")
