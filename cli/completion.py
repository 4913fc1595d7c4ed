"""falconet completion"""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Prints the script that completes commands and options in SHELL.

    \b
    bash:  eval "$(falconet completion bash)"                        in ~/.bashrc
    zsh:   eval "$(falconet completion zsh)"                         in ~/.zshrc
    fish:  falconet completion fish > ~/.config/fish/completions/falconet.fish
    """
    root = context.find_root()
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(root.command, {}, "falconet", "_FALCONET_COMPLETE").source())
