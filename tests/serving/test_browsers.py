"""What browsers, and scripts of other websites, get from a gateway."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from falconet.serving.errors import ServerError
from falconet.serving.gateway import Gateway
from falconet.serving.nginx_config import allowed_origins
from falconet.serving.server import Server
from tests.described_gateway import described_gateway

TIMEOUT = 60
KEY = {"X-Api-Key": "abc"}
ORIGIN = "https://www.example.com"

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx")]


Start = Callable[..., Gateway]


@pytest.fixture(scope="module")
def start(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a gateway with options."""
    with ExitStack() as stack:

        def run(**options: object) -> Gateway:
            folder = tmp_path_factory.mktemp("gateway")
            return stack.enter_context(described_gateway(server, folder, **options))

        yield run


def address(gateway: Gateway) -> str:
    return f"http://127.0.0.1:{gateway.port}"


@pytest.fixture(scope="module")
def gateway(start: Start) -> Gateway:
    """A gateway that scripts of one website may ask."""
    return start(origins=["https://other.example.com:8443", ORIGIN])


@pytest.fixture(scope="module")
def url(gateway: Gateway) -> str:
    return address(gateway)


def test_the_page_needs_no_key_and_loads_nothing_from_elsewhere(url: str) -> None:
    page = requests.get(url + "/", timeout=TIMEOUT)
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert requests.get(url + "/page/index.html", timeout=TIMEOUT).text == page.text
    for path in ("/page/none.js", "/page/../nginx.conf", "/page/%2e%2e/nginx.conf"):
        assert requests.get(url + path, timeout=TIMEOUT).status_code in (400, 403, 404)


def test_a_gateway_without_a_page(start: Start) -> None:
    url = address(start(page=False))
    for path in ("/", "/page/index.html"):
        assert requests.get(url + path, timeout=TIMEOUT).status_code == 404


def test_the_models_are_listed_for_clients_with_a_key(url: str) -> None:
    assert requests.get(url + "/v2/models", timeout=TIMEOUT).status_code == 401
    listed = requests.get(url + "/v2/models", headers=KEY, timeout=TIMEOUT).json()
    assert listed == {"default": "cifar10", "models": [{"name": "cifar10", "versions": ["1.0"]}]}
    assert requests.get(url + "/index.json", headers=KEY, timeout=TIMEOUT).status_code == 404


def test_the_interface_is_described(url: str) -> None:
    described = requests.get(url + "/openapi.json", timeout=TIMEOUT).json()
    assert described["servers"] == [{"url": "/"}]
    assert "/predictions/{model}" in described["paths"]


def test_what_is_read_is_not_posted_to_and_fills_no_log(url: str, gateway: Gateway) -> None:
    for path in ("/", "/page/index.html", "/v2/models", "/openapi.json"):
        answer = requests.post(url + path, headers=KEY, data=b"x", timeout=TIMEOUT)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD"), path
        assert "expected GET" in answer.text
    logged = gateway.folder / "error.log"
    before = logged.read_text()
    for path in ("/page/none.js", "/v2/models/nobody"):
        assert requests.get(url + path, headers=KEY, timeout=TIMEOUT).status_code == 404
    assert logged.read_text() == before
    with requests.Session() as session:
        many = (
            session.get(f"{url}/page/none.js", timeout=TIMEOUT).status_code for _ in range(9999)
        )
        assert 429 in many


def test_every_response_has_an_id(url: str) -> None:
    for path, headers in (("/predict", {}), ("/nothing", KEY), ("/ready", {}), ("/v2/models", KEY)):
        answer = requests.get(url + path, headers=headers, timeout=TIMEOUT)
        assert len(answer.headers["X-Request-Id"]) == 32, path


def test_a_form_field_that_is_called_as_a_header_harms_nobody(
    server: Server, samples: list[Path]
) -> None:
    direct = server.client.prediction_url("cifar10")
    form = {"image": samples[4].read_bytes(), "X-Request-Start": b"1"}
    answer = requests.post(direct, files=form, timeout=TIMEOUT)
    assert answer.json()["predictions"][0]["label"] == "frog"


def test_a_response_says_where_its_time_went(url: str, samples: list[Path]) -> None:
    answer = requests.post(
        f"{url}/predict", data=samples[4].read_bytes(), headers=KEY, timeout=TIMEOUT
    )
    assert answer.headers["X-Model-Version"] == "1.0"
    stages = dict(each.split(";dur=") for each in answer.headers["Server-Timing"].split(", "))
    assert list(stages) == ["queue", "decode", "preprocess", "inference"]
    assert 0 < sum(map(float, stages.values())) < 1e3 * answer.elapsed.total_seconds() + 2
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_scripts_of_an_allowed_website_may_ask(url: str, samples: list[Path]) -> None:
    asks_first = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }
    for path in ("/predict", "/predictions/cifar10", "/v2/models"):
        allowed = requests.options(url + path, headers=asks_first, timeout=TIMEOUT)
        assert allowed.status_code == 204, path
        assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "POST" in allowed.headers["Access-Control-Allow-Methods"]
        assert "X-Api-Key" in allowed.headers["Access-Control-Allow-Headers"]
        assert allowed.headers["Vary"] == "Origin"
    plain = requests.get(f"{url}/openapi.json", timeout=TIMEOUT)
    assert plain.headers["Vary"] == "Origin", "a cache must not mix them up"
    headers = {**KEY, "Origin": ORIGIN}
    image = samples[4].read_bytes()
    for key, status in ((KEY, 200), ({"X-Api-Key": "wrong"}, 401)):
        answer = requests.post(
            f"{url}/predict", data=image, headers={**headers, **key}, timeout=TIMEOUT
        )
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN, "errors are read, too"
        assert "Server-Timing" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Methods" not in answer.headers
    unknown = requests.get(f"{url}/nothing", headers=headers, timeout=TIMEOUT)
    assert unknown.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", f"{ORIGIN}.evil.com", "http://www.example.com"]
)
def test_scripts_of_other_websites_may_not(url: str, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    refused = requests.options(f"{url}/predict", headers=headers, timeout=TIMEOUT)
    assert refused.status_code in (401, 405)
    assert not [name for name in refused.headers if name.startswith("Access-Control")]


def test_an_origin_may_be_named_twice(start: Start) -> None:
    url = address(start(origins=[ORIGIN, ORIGIN.upper().replace("HTTPS", "https")]))
    assert requests.get(f"{url}/live", timeout=TIMEOUT).status_code == 200


@pytest.mark.parametrize(
    "origin", ["*", "example.com", "https://a.com/", 'https://a.com" 1; "', "https://a.com\n"]
)
def test_an_origin_is_as_browsers_send_it(origin: str) -> None:
    with pytest.raises(ServerError, match="expected an origin like"):
        allowed_origins([origin])
