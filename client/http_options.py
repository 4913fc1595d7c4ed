"""Options that both kinds of client share."""

import re
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
        ValueError: the URL or the key is not one.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"expected a URL like https://images.example.com, got {url!r}")
    if re.search(r"[?#\s\x00-\x1f\x7f]", url) or parts.username is not None or parts.port == 0:
        raise ValueError("expected a URL without a query, a fragment, a user or a password")
    if api_key is not None and not re.fullmatch(r"[!-~]+", api_key):
        # The key itself is not quoted: messages end up in logs.
        raise ValueError(
            "expected an API key of visible ASCII characters; does it end with a line break?"
        )
    return {
        "headers": {} if api_key is None else {KEY_HEADER: api_key},
        # Reading the system's certificates takes 20 ms, and http needs none.
        "verify": ssl.create_default_context(cafile=ca) if ca else parts.scheme != "http",
        "timeout": timeout,
        # A proxy, which the environment may name for other hosts, cannot reach this machine.
        "trust_env": not is_loopback(parts.hostname),
    }


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
