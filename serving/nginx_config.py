"""nginx's configuration: the templates in ``conf/``, filled in."""

import json
import re
import resource
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path

from .certificate import CHAIN_END, FOLDER, KEY_END, Certificate
from .configuration import CONF
from .errors import ServerError
from .limits import LEVEL_COUNT, Limits
from .nginx_files import LEVELS

# nginx.conf includes the others.
TEMPLATES = {
    "nginx.conf": "nginx.conf",
    "ask.conf": "nginx-ask.conf",
    "cors.conf": "nginx-cors.conf",
    "key.conf": "nginx-key.conf",
    "known.conf": "nginx-known.conf",
    "level.conf": "nginx-level.conf",
    "page.conf": "nginx-page.conf",
    "read.conf": "nginx-read.conf",
}
UPSTREAMS = "upstreams.conf"
# A client's connection, one to TorchServe, and a file for a large body, of 4096 at a time.
OPEN_FILES = 3 * 4096


def in_url(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def fill_template(template: str, values: Mapping[str, str]) -> str:
    text = (CONF / template).read_text()
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], text)


def upstreams(inference: int, limits: Limits) -> str:
    """One upstream for each limit of concurrent requests."""
    return "".join(
        fill_template(
            "nginx-upstream.conf",
            {
                "NAME": f"torchserve_{name}",
                "INFERENCE": str(inference),
                "MAX_CONNECTIONS": str(limit),
            },
        )
        for name, limit in limits.concurrency_limits.items()
    )


def level_conditions(runtime: Path) -> str:
    """Lines that set nginx's ``$level`` by the file that a model has in its folder of levels."""
    return "\n".join(
        f'if (-f "{runtime}/{LEVELS}/$model/{each}") {{ set $level {each}; }}'
        for each in range(1, LEVEL_COUNT)
    )


# The statuses of errors that share one with another error.
OTHERS = {"no_model": 404, "read_only": 405}


def error_bodies(limits: Limits) -> str:
    """Lines of nginx's maps: of each error, the body in the form of the protocol that is asked."""
    messages = {
        "401": "expected a known API key, as Authorization: Bearer KEY or as X-Api-Key: KEY",
        "404": "unknown path; use /predict or /predict/MODEL",
        "no_model": "no model of this name is served here",
        "405": "expected POST",
        "read_only": "expected GET",
        "413": f"expected a body of at most {limits.max_body_size}",
        "429": "too many requests; retry after the number of seconds in Retry-After",
        "503": "the model server is not available",
        "504": f"no answer within {limits.timeout} seconds",
    }
    lines = []
    for name, message in messages.items():
        code = int(name) if name.isdigit() else OTHERS[name]
        open_inference = json.dumps({"error": message})
        ours = {"success": False, "error": {"code": code, "message": message}}
        lines.append(
            f"map $uri $error_{name} {{ \"~^/v2\" '{open_inference}'; "
            f"default '{json.dumps(ours)}'; }}"
        )
    return "\n  ".join(lines)


def allowed_origins(origins: Sequence[str]) -> str:
    """Lines of nginx's map: each origin, as a browser sends it.

    Raises:
        ServerError: one is something else.
    """
    for origin in origins:
        if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d+)?", origin):
            raise ServerError(f"expected an origin like https://www.example.com, got {origin!r}")
    # nginx's map does not tell upper from lower case.
    different = dict.fromkeys(origin.lower() for origin in origins)
    return "\n    ".join(f'"{origin}" $http_origin;' for origin in different)


def page_locations(runtime: Path, page: bool) -> str:
    """Lines of nginx that serve the page to try models in, or none."""
    if not page:
        return ""
    include = f'include "{runtime}/page.conf";'
    return (
        f'location = / {{ root "{runtime}/page"; {include} try_files /index.html =404; }}\n'
        f'    location ^~ /page/ {{ root "{runtime}"; {include} }}'
    )


def trusted_proxies(networks: Sequence[str]) -> str:
    """Lines of nginx that take a client's address from these proxies."""
    if not networks:
        return ""
    try:
        lines = [f"set_real_ip_from {ip_network(each)};" for each in networks]
    except ValueError as error:
        raise ServerError(f"expected an address or a network like 10.0.0.0/8: {error}") from None
    return "\n  ".join([*lines, "real_ip_header X-Forwarded-For;", "real_ip_recursive on;"])


def open_files() -> int:
    """How many files each of nginx's processes may have open, as far as we may say."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)


def tls(certificate: Certificate | None, runtime: Path) -> str:
    """Lines of nginx for a certificate that is installed in its folder."""
    if certificate is None:
        return ""
    # With a variable in their names, nginx reads the files at each handshake.
    return (
        f'ssl_certificate "{runtime / FOLDER}/$current{CHAIN_END}"; '
        f'ssl_certificate_key "{runtime / FOLDER}/$current{KEY_END}"; '
        "ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:1m;"
    )
