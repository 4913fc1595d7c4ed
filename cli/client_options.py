"""The options of commands that send images to a server or a gateway."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def url_options(help: str) -> Callable[[Command], Command]:
    """``--url``, and ``--api-key`` and ``--cacert`` for a gateway."""

    def add(command: Command) -> Command:
        for option in (
            click.option(
                "--cacert",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="File of CA certificates to trust for --url.  [default: the system's]",
            ),
            click.option(
                "--api-key",
                envvar="FALCONET_API_KEY",
                help="API key for the gateway at --url. The environment variable FALCONET_API_KEY "
                "keeps it out of the process list.",
            ),
            click.option("--url", help=help),
        ):
            command = option(command)
        return command

    return add
