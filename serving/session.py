"""HTTP requests to a server or a gateway, with the connection kept open."""

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import requests


def open_session(
    url: str, *, api_key: str | None = None, cacert: Path | None = None
) -> requests.Session:
    """A session for requests to one host.

    Loopback addresses are asked directly: a proxy, which the environment may name for other hosts,
    would look for a server on its own machine.

    Args:
        url: of the host.
        api_key: sent with each request, to a gateway.
        cacert: file of certificates to trust instead of the system's.
    """
    session = requests.Session()
    session.trust_env = not is_loopback(urlsplit(url).hostname or "")
    if api_key is not None:
        session.headers["X-Api-Key"] = api_key
    if cacert is not None:
        session.verify = str(cacert)
    return session


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
