"""Links, commands and options on all pages exist."""

from pathlib import Path

import pytest

from tests.repo.pages import (
    anchors,
    broken_links,
    console_commands,
    inline_commands,
    pages,
    unknown,
)


def test_links_lead_somewhere(repository: Path) -> None:
    found = {page.name: broken_links(page) for page in pages(repository)}
    assert {name: links for name, links in found.items() if links} == {}


def test_commands_and_options_exist(repository: Path) -> None:
    commands = []
    for page in pages(repository):
        text = page.read_text()
        commands += [(page.name, words) for words in console_commands(text)]
        if page.name != "CHANGELOG.md":  # which names what was removed
            commands += [(page.name, words) for words in inline_commands(text)]
    assert len(commands) > 50
    assert [(page, found) for page, words in commands if (found := unknown(words))] == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A `heading`, here\n```\n# not one\n```\n## Two\n## Two\n")
    assert anchors((tmp_path / "other.md").read_text()) == {"a-heading-here", "two", "two-1"}
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#two-1) [b](https://example.com/none) [c](none.md)\n"
        "[d](other.md#not-one) [e](#here)\n```\n[f](none)\n```\n# There\n"
    )
    assert broken_links(page) == ["none.md", "other.md#not-one", "#here"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("falconet serve a.mar --background  # --none", None),
        ("falconet gateway reload --state DIR", None),
        ("falconet gateway --no-page --port 1 reload", None),
        ("falconet COMMAND --help", None),
        ("A=$(cut -f 1 keys) falconet predict x | falconet none", "falconet none"),
        ("cd x && .venv/bin/falconet serve --none=1", "falconet serve --none=1"),
        ("falconet gateway --keys keys", "falconet gateway --keys"),
        ("falconet canary x \\\n  --seconds 1", "falconet canary --seconds"),
    ],
)
def test_unknown_commands_and_options_are_found(line: str, expected: str | None) -> None:
    found = [unknown(words) for words in console_commands(f"```console\n$ {line}\n```\n")]
    assert found
    assert [each for each in found if each] == ([expected] if expected else [])
