"""What the pages of the repository have: headings, links and commands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from falconet.cli.main import main

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`]+)`")
ASSIGNMENT = re.compile(r"^\w+=")


def pages(repository: Path) -> list[Path]:
    """All that users and contributors read."""
    names = ("README", "CONTRIBUTING", "ARCHITECTURE", "CHANGELOG")
    return [repository / f"{name}.md" for name in names] + sorted(
        (repository / "docs").glob("*.md")
    )


def anchors(text: str) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (unique := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(unique)
    return found


def broken_links(page: Path) -> list[str]:
    """Relative links whose file or anchor does not exist."""
    found = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            found.append(link)
    return found


def console_commands(text: str) -> Iterator[list[str]]:
    """The words after ``falconet`` of each such command in the console blocks."""
    for language, block in FENCE.findall(text):
        if language == "console":
            for line in re.sub(r"\\\n", "", block).splitlines():
                if line.startswith("$ "):
                    yield from _commands(line.removeprefix("$ "))


def inline_commands(text: str) -> Iterator[list[str]]:
    """The words after ``falconet`` of each command in the text itself."""
    for span in SPAN.findall(FENCE.sub("", text)):
        if span.startswith("falconet "):
            yield from _commands(span.replace("\n", " "))


def _commands(line: str) -> Iterator[list[str]]:
    """Split where the shell begins a new command."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    command: list[str] = []
    for word in [*words, ";"]:
        if word[0] in "();<>|&":
            if command and command[0].rpartition("/")[2] == "falconet":
                yield command[1:]
            command = []
        elif command or not ASSIGNMENT.match(word):
            command.append(word)


def unknown(words: list[str]) -> str | None:
    """What a command line has that no help text names; ``None`` if all of it exists.

    An earlier name of an option counts as unknown. Words in capitals stand for any command.
    """
    command: click.Command = main
    context = click.Context(main, info_name="falconet", **main.context_settings)
    shown = _options(context)
    for position, word in enumerate(words):
        if word.startswith("-"):
            if word.partition("=")[0] not in shown:
                return f"{context.command_path} {word}"
        elif isinstance(command, click.Group):
            if word.isupper():
                return None
            subcommand = command.get_command(context, word)
            if subcommand is None:
                # A value of an option, or no command at all.
                if position and words[position - 1].startswith("-"):
                    continue
                return f"{context.command_path} {word}"
            command = subcommand
            context = click.Context(command, info_name=word, parent=context)
            shown |= _options(context)
    return None


def _options(context: click.Context) -> set[str]:
    return {
        name
        for parameter in context.command.get_params(context)
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in [*parameter.opts, *parameter.secondary_opts]
        if name != getattr(parameter, "formerly", None)
    }
