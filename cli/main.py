"""The command ``falconet``."""

from functools import partial
from importlib import import_module
from typing import Any

import click

from falconet.handler.priority import at_low_priority

# Each command's module, imported when it is used, as most need torch, which takes seconds; and its
# function where that has another name.
COMMANDS = {
    "recipes": "recipes",
    "show": "recipes",
    "train": "train",
    "reproduce": "reproduce",
    "tune": "tune",
    "explore": "report",
    "report": "report",
    "evaluate": "evaluate",
    "export": "export",
    "import": "importing:import_model",
    "migrate": "migrate",
    "archive": "archive",
    "serve": "serve",
    "stop": "serve",
    "status": "serve",
    "deploy": "deploy",
    "undeploy": "deploy",
    "rollback": "deploy",
    "models": "deploy",
    "scale": "deploy",
    "canary": "deploy",
    "gateway": "gateway",
    "up": "up",
    "predict": "predict",
}


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
    """Train an image classifier, pack it, and serve it with TorchServe.

    \b
    falconet serve                    serve the CIFAR-10 model that comes along
    falconet predict cat.png          what is in an image, without a server
    falconet COMMAND --help           more about each command
    """
