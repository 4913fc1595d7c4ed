"""The page in a real browser, at a real gateway before a real server."""

import base64
import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from falconet.serving.page_server import PageServer
from tests.page.conftest import KEY

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx", "chromium", "curl")]
expect = sync_api.expect
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "is_mobile": True,
    "has_touch": True,
}
# A folder for the screenshots of docs/screenshots.
SCREENSHOTS = os.environ.get("FALCONET_SCREENSHOTS")
BEST = ".bars li:first-child .label"


def card(page: Any, path: Path | str) -> Any:
    return page.get_by_role("article", name=Path(path).name, exact=True)


def screenshot(page: Any, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS, f"{name}.png"), animations="disabled")


def test_a_key_is_asked_for_and_can_be_forgotten(
    visit: Callable[..., Any], enter: Callable[..., None], at_gateway: str, samples: list[Path]
) -> None:
    page = visit(at_gateway, statuses_of_errors={401})
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_contain_text("This server needs an API key.")
    enter(page, "with space")
    expect(dialog).to_contain_text("A key has no spaces")
    enter(page, "wrong")
    expect(dialog).to_contain_text("The server does not know this key.")
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_have_text("This server needs an API key.")
    # What comes meanwhile waits for the key.
    page.set_input_files("#choose", samples[4])
    expect(card(page, samples[4])).to_contain_text("Is sent when")
    page.get_by_role("button", name="Enter a key").click()
    enter(page, KEY)
    expect(card(page, samples[4]).locator(BEST)).to_have_text("frog")
    expect(page.get_by_role("alert")).to_be_hidden()
    assert page.evaluate("Object.values(sessionStorage)") == [KEY]
    assert page.evaluate("localStorage.length") == 0
    assert page.context.cookies() == []
    assert KEY not in page.content()
    page.get_by_role("button", name="Forget the key").click()
    expect(dialog).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    # A key that is withdrawn while the page is open.
    enter(page, KEY)
    expect(dialog).to_be_hidden()
    page.evaluate("sessionStorage.setItem('falconet-key', 'withdrawn')")
    page.set_input_files("#choose", samples[0])
    expect(dialog).to_contain_text("The server does not know this key.")
    enter(page, KEY)
    expect(card(page, samples[0]).locator(BEST)).to_have_text("cat")


@pytest.fixture
def at_page_server(page_server: PageServer) -> str:
    return page_server.url


@pytest.mark.parametrize("where", ["at_gateway", "at_page_server"])
def test_an_image_is_dropped_and_classified(
    where: str,
    visit: Callable[..., Any],
    enter: Callable[..., None],
    drop: Callable[..., None],
    samples: list[Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """The same at the gateway and at ``falconet serve --page``; a file without fault, and one."""
    url = request.getfixturevalue(where)
    keys = where == "at_gateway"
    frog, broken = tmp_path / "a 'frog'.png", tmp_path / "broken <b>.jpg"
    frog.write_bytes(samples[4].read_bytes())
    broken.write_bytes(b"\xff\xd8\xff nothing")
    page = visit(url, statuses_of_errors={401, 422} if keys else {422})
    if keys:
        enter(page, KEY)
    expect(page.get_by_label("Model")).to_have_value("cifar10")
    expect(page.get_by_label("Version").locator("option")).to_have_text(["current (1.0)", "1.0"])
    drop(page, frog, broken)
    shown = card(page, frog)
    expect(shown.locator(BEST)).to_have_text("frog")
    expect(shown.locator("canvas")).to_be_visible()
    expect(shown).to_contain_text("cifar10 1.0")
    for stage in ("Browser", "Server", "queue", "decode", "preprocess", "inference"):
        expect(shown.get_by_text(stage, exact=True)).to_be_visible()
    shown.get_by_text("Raw JSON").click()
    raw = json.loads(shown.locator("pre").first.inner_text())
    assert raw["predictions"][0]["label"] == "frog"
    shown.get_by_text("curl", exact=True).click()
    line = shown.locator("pre").last.inner_text()
    assert ("X-Api-Key: KEY" in line) == keys
    answered = subprocess.run(
        shlex.split(line.replace(": KEY", f": {KEY}")),
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert json.loads(answered.stdout)["predictions"][0]["label"] == "frog"
    said = requests.post(
        f"{url}predictions/cifar10",
        data=broken.read_bytes(),
        headers={"X-Api-Key": KEY},
        timeout=60,
    )
    assert said.status_code == 422
    refused = card(page, broken)
    expect(refused.locator(".error")).to_have_text(said.json()["error"]["message"])
    expect(refused.locator(".kind")).to_have_text("JPG")
    for path in ("", "page/style.css", "page/app.js", "page/icon.svg"):
        got = requests.get(url + path, timeout=60)
        assert got.status_code == 200
        policy = got.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'" in policy
        assert got.headers["X-Content-Type-Options"] == "nosniff"


def test_an_image_is_pasted(
    visit: Callable[..., Any], page_server: PageServer, samples: list[Path]
) -> None:
    page = visit(page_server.url, permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async content => {
            const bytes = Uint8Array.from(atob(content), each => each.charCodeAt(0));
            const item = new ClipboardItem({"image/png": new Blob([bytes], {type: "image/png"})});
            await navigator.clipboard.write([item]);
        }""",
        base64.b64encode(samples[4].read_bytes()).decode(),
    )
    page.keyboard.press("Control+V")
    pasted = card(page, "image.png")
    expect(pasted.locator(BEST)).to_have_text("frog")
    expect(page.get_by_role("status")).to_contain_text("image.png: frog, ")
    pasted.get_by_text("curl", exact=True).click()
    pasted.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith(
        "curl --data-binary '@./image"
    )
    page.keyboard.press("Control+V")
    expect(page.get_by_role("alert")).to_contain_text("There is no file in it")
    # Whoever uses the keyboard is at the next place, where a card was.
    pasted.get_by_role("button", name="Remove image.png").press("Enter")
    expect(pasted).to_have_count(0)
    expect(page.locator("#choose")).to_be_focused()


def test_models_and_versions_can_be_chosen(
    visit: Callable[..., Any], page_server: PageServer, samples: list[Path]
) -> None:
    """Of two models, one whose answers have another form than ours."""
    page = visit(page_server.url, statuses_of_errors={503})
    models = [
        {"name": "cifar10", "versions": ["1.0"]},
        {"name": "pets", "versions": ["3.0", "2.0"]},
    ]
    listed = {"default": "pets", "models": models}
    page.route("**/v2/models", lambda route: route.fulfill(json=listed))
    answers = {
        "/predictions/pets": {"json": {"dog": 0.07, "cat": 0.93}},
        "/predictions/pets/2.0": {"json": [3], "headers": {"X-Model-Version": "2.0"}},
        "/predictions/pets/3.0": {
            "status": 503,
            "json": {"code": 503, "message": "all workers are busy"},
            "headers": {"Retry-After": "7"},
        },
    }
    page.route(
        "**/predictions/pets**",
        lambda route: route.fulfill(**answers["/" + route.request.url.split("/", 3)[3]]),
    )
    page.reload()
    expect(page.get_by_label("Model")).to_have_value("pets")
    page.set_input_files("#choose", samples[0])
    shown = card(page, samples[0])
    expect(shown.locator(".label")).to_have_text(["cat", "dog"])
    expect(shown.locator(".percent")).to_have_text(["93.0\u00a0%", "7.0\u00a0%"])
    page.get_by_label("Version").select_option("2.0")
    again = shown.get_by_role("button", name="Send again")
    again.click()
    expect(shown.locator("pre").first).to_have_text("[ 3 ]")
    expect(shown.locator(".bars")).to_have_count(0)
    expect(shown).to_contain_text("pets 2.0")
    page.get_by_label("Version").select_option("3.0")
    again.click()
    expect(shown.locator(".error")).to_have_text(
        "all workers are busy The server asks to wait for 7 s."
    )
    page.get_by_label("Model").select_option("cifar10")
    expect(page.get_by_label("Version").locator("option")).to_have_text(["current (1.0)", "1.0"])
    again.click()
    expect(shown.locator(BEST)).to_have_text("cat")


def test_four_images_at_a_time_are_sent(
    visit: Callable[..., Any], page_server: PageServer, samples: list[Path]
) -> None:
    page = visit(page_server.url)
    held: list[Any] = []
    page.route("**/predictions/**", lambda route: held.append(route))
    page.set_input_files("#choose", samples[:6])
    expect(page.get_by_role("article")).to_have_count(6)
    while len(held) < 4:
        page.wait_for_timeout(20)
    page.wait_for_timeout(200)
    assert len(held) == 4
    held[0].fulfill(json={"cat": 1.0})
    while len(held) < 5:
        page.wait_for_timeout(20)
    # One that is removed takes no place any more. Requests come in any order.
    sent = held[1].request.post_data_buffer
    (removed,) = (path for path in samples[:6] if path.read_bytes() == sent)
    card(page, removed).get_by_role("button", name="Remove").click()
    while len(held) < 6:
        page.wait_for_timeout(20)
    for each in held[2:]:
        each.fulfill(json={"cat": 1.0})
    expect(page.locator(".bars")).to_have_count(5)


def test_where_the_network_looked(
    visit: Callable[..., Any], page_server: PageServer, samples: list[Path]
) -> None:
    page = visit(page_server.url, statuses_of_errors={501})
    classes: list[str | None] = []
    picture = base64.b64encode(samples[0].read_bytes()).decode()

    def explain(route: Any) -> None:
        label = route.request.headers.get("x-explain-class")
        classes.append(label)
        assert route.request.post_data_buffer == samples[0].read_bytes()
        body = {"label": label or "cat", "probability": 0.5, "input": picture, "overlay": picture}
        route.fulfill(json=body)

    page.route("**/explanations/cifar10", explain)
    page.set_input_files("#choose", samples[0])
    shown = card(page, samples[0])
    button = shown.get_by_role("button", name="Where did the network look?")
    button.click()
    overlay = shown.get_by_role("img", name="What spoke for cat")
    expect(overlay).to_be_visible()
    assert overlay.evaluate("image => image.decode().then(() => image.naturalWidth)") == 32
    boxes = [shown.locator(each).bounding_box() for each in (".input", ".overlay")]
    assert boxes[0] == boxes[1]
    shown.get_by_label("Show it over the image").uncheck()
    expect(overlay).to_be_hidden()
    other = shown.locator(".label").nth(1).inner_text()
    shown.get_by_label("What speaks for").select_option(other)
    expect(shown.get_by_role("img", name=f"What spoke for {other}")).to_be_visible()
    assert classes == [None, other]
    # A model that was packed without explanations says so once.
    reason = "this model has none"
    page.unroute_all()
    refusal = {"success": False, "error": {"code": 501, "message": reason}}
    page.route("**/explanations/**", lambda route: route.fulfill(status=501, json=refusal))
    page.set_input_files("#choose", samples[4:6])
    for path in samples[4:6]:
        expect(card(page, path).locator(BEST)).to_have_text("frog")
    button = card(page, samples[4]).get_by_role("button", name="Where did")
    button.click()
    expect(button).to_be_disabled()
    expect(card(page, samples[4])).to_contain_text(reason)
    page.set_input_files("#choose", samples[7])
    expect(card(page, samples[7]).get_by_role("button", name="Where did")).to_be_disabled()
    expect(card(page, samples[7])).to_contain_text(reason)


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_it_is_accessible_and_fits(
    size: str,
    scheme: str,
    visit: Callable[..., Any],
    enter: Callable[..., None],
    at_gateway: str,
    samples: list[Path],
    tmp_path: Path,
) -> None:
    """By axe-core: in the dialog, with answers, and with an error; nothing scrolls sideways."""
    options = PHONE if size == "phone" else {"viewport": {"width": 1200, "height": 900}}
    page = visit(at_gateway, statuses_of_errors={401}, color_scheme=scheme, **options)

    def check() -> None:
        found = axe.Axe().run(page).response["violations"]
        assert [
            (each["id"], [node["html"] for node in each["nodes"]])
            for each in found
            if each["impact"] in ("serious", "critical")
        ] == []
        # Not innerWidth, which grows on a phone with what does not fit.
        width = page.locator("html").evaluate("root => root.scrollWidth")
        assert width <= options["viewport"]["width"]

    expect(page.get_by_role("dialog")).to_be_visible()
    check()
    enter(page, KEY)
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert page.get_by_text("Take a photograph").is_visible() == (size == "phone")
    page.set_input_files("#choose", [samples[0], samples[4], samples[11]])
    expect(page.locator(".bars")).to_have_count(3)
    screenshot(page, f"page-{size}-{scheme}")
    long = tmp_path / f"{'long-name-' * 9}.png"
    long.write_bytes(b"no image")
    page.route("**/predictions/**", lambda route: route.fulfill(json={"x" * 90: 0.9, "y": 0.1}))
    page.set_input_files("#choose", long)
    expect(page.locator(".bars")).to_have_count(4)
    page.route("**/predictions/**", lambda route: route.fulfill(json=["z" * 300]))
    card(page, long).get_by_role("button", name="Send again").click()
    expect(page.locator(".bars")).to_have_count(3)
    page.set_input_files("#choose", samples[1])
    page.get_by_text("curl", exact=True).first.click()
    check()


def test_a_server_that_does_not_answer(visit: Callable[..., Any], page_server: PageServer) -> None:
    page = visit(page_server.url, statuses_of_errors={503})
    refusal = {"success": False, "error": {"code": 503, "message": "no server runs"}}
    page.route("**/v2/models", lambda route: route.fulfill(status=503, json=refusal))
    page.reload()
    expect(page.get_by_role("alert")).to_have_text("no server runs")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Model")).to_have_value("cifar10")
    expect(page.get_by_role("alert")).to_be_hidden()
