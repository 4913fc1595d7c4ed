"""A browser, and what it shows, asks for and complains about."""

import base64
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from falconet.serving.gateway import Gateway
from falconet.serving.page_server import PageServer, serve_page
from falconet.serving.server import Server
from tests.described_gateway import described_gateway
from tests.programs import PATH, skip_without

KEY = "abc"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, headless."""
    skip_without("chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium", path=PATH)
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def gateway(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A real one, with one key."""
    skip_without("nginx")
    with described_gateway(server, tmp_path_factory.mktemp("gateway"), KEY) as started:
        yield started


@pytest.fixture(scope="module")
def at_gateway(gateway: Gateway) -> str:
    """Where the page is, with keys."""
    return f"http://127.0.0.1:{gateway.port}/"


@pytest.fixture(scope="module")
def page_server(server: Server) -> Iterator[PageServer]:
    """What ``falconet serve --page`` starts."""
    with serve_page(0, server.folder) as started:
        started.inference = server.ports.inference
        yield started


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a context of its own; afterwards, nothing may have been amiss.

    No script has failed, nothing was asked of another address, the security policy has refused
    nothing, and the browser has reported no statuses but those that the test expects.
    """
    contexts, errors = [], []
    statuses: set[int] = set()
    expected: set[int] = set()

    def open_it(url: str, *, statuses_of_errors: set[int] | None = None, **options: Any) -> Any:
        expected.update(statuses_of_errors or ())
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(20_000)

        def heard(message: Any) -> None:
            if found := REFUSED.match(message.text):
                statuses.add(int(found[1]))
            elif message.type in ("error", "warning"):
                errors.append(message.text)

        def asked(request: Any) -> None:
            if not request.url.startswith((url, "data:", "blob:")):
                errors.append(request.url)

        context.on("console", heard)
        context.on("request", asked)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        page = context.new_page()
        page.goto(url)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert errors == []
    assert statuses == expected


@pytest.fixture
def enter() -> Callable[[Any, str], None]:
    """Types a key into the dialog."""

    def enter_it(page: Any, key: str) -> None:
        page.get_by_label("Key", exact=True).fill(key)
        page.keyboard.press("Enter")

    return enter_it


@pytest.fixture
def drop() -> Callable[..., None]:
    """Drops files on the page."""

    def drop_them(page: Any, *files: Path) -> None:
        content = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in files]
        transfer = page.evaluate_handle(
            """files => {
                const transfer = new DataTransfer();
                for (const [name, content] of files) {
                    const bytes = Uint8Array.from(atob(content), each => each.charCodeAt(0));
                    transfer.items.add(new File([bytes], name));
                }
                return transfer;
            }""",
            content,
        )
        page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})

    return drop_them
