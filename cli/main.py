"""The command ``falconet``."""

from functools import partial
from importlib import import_module
from typing import Any

import click

from falconet.handler.priority import at_low_priority

# Commands in groups, each with its module, and with its function where that has another name. A
# module is imported when it is used, as most need torch, which takes seconds.
GROUPS = {
    "Serve": {
        "serve": "serve",
        "stop": "serve",
        "status": "serve",
        "gateway": "gateway",
        "up": "up",
        "doctor": "doctor",
    },
    "Models": {
        "archive": "archive",
        "import": "importing:import_model",
        "migrate": "migrate",
        "deploy": "deploy",
        "canary": "deploy",
        "rollback": "deploy",
        "undeploy": "deploy",
        "models": "deploy",
        "scale": "deploy",
        "predict": "predict",
        "score": "score",
        "compare": "compare",
    },
    "Train": {
        "recipes": "recipes",
        "show": "recipes",
        "train": "train",
        "tune": "tune",
        "export": "export",
        "explore": "report",
        "report": "report",
        "temperature": "temperature",
    },
    "Measure": {
        "evaluate": "evaluate",
        "reproduce": "reproduce",
    },
    "Other": {
        "completion": "completion",
    },
}
COMMANDS = {name: place for group in GROUPS.values() for name, place in group.items()}


class LazyGroup(click.Group):
    """Imports a command's module on its first use, and turns expected errors into messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        place, _, function = COMMANDS[name].partition(":")
        work = partial(import_module, f".{place}", __package__)
        # Used beside a server that answers, whose cores it would take for tenths of a second.
        module = at_low_priority(work) if COMMANDS[name] == "deploy" else work()
        command = getattr(module, function or name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for title, group in GROUPS.items():
            rows = []
            for name in group:
                command = self.get_command(ctx, name)
                assert command is not None
                limit = formatter.width - width - 6
                rows.append((name.ljust(width), command.get_short_help_str(limit)))
            with formatter.section(title):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        # These are raised with messages for the one who typed the command. RuntimeError covers
        # our own: ServerError, ExportError, ArchiveError.
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except ModuleNotFoundError:
            raise  # for __main__.py, which knows the extras
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="falconet")
def main() -> None:
    """Trains image classifiers, packs them into archives, and serves them with TorchServe.

    \b
    falconet serve                    serves the included CIFAR-10 model
    falconet predict cat.png          classifies an image, without a server
    falconet COMMAND --help           describes a command
    """
