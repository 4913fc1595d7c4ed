"""Options that both kinds of client share."""

import ssl
from ipaddress import ip_address
from os import PathLike
from typing import TypedDict
from urllib.parse import urlsplit

KEY_HEADER = "X-Api-Key"
TIMEOUT_SECONDS = 60.0


class HttpOptions(TypedDict):
    """Arguments of httpx's clients."""

    headers: dict[str, str]
    verify: ssl.SSLContext | bool
    timeout: float
    trust_env: bool


def http_options(
    url: str, api_key: str | None, ca: "str | PathLike[str] | None", timeout: float
) -> HttpOptions:
    """See :class:`.Client`.

    Raises:
        OSError: the file of certificates cannot be read, or holds none.
    """
    return {
        "headers": {} if api_key is None else {KEY_HEADER: api_key},
        # Reading the system's certificates takes 20 ms, and http needs none.
        "verify": ssl.create_default_context(cafile=ca) if ca else url.startswith("https:"),
        "timeout": timeout,
        # A proxy, which the environment may name for other hosts, cannot reach this machine.
        "trust_env": not is_loopback(urlsplit(url).hostname or ""),
    }


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
