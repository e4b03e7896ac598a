"""The address of a server that stores objects, and how to connect: encrypted, unless it is this machine itself."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trading_runtime.core.errors import ConfigurationError

if TYPE_CHECKING:
    from obstore.store import ClientConfig

# For one whole request. Enough for 100 MB at 2 MB/s.
REQUEST_SECONDS = 60.0
CONNECT_SECONDS = 5.0


def checked_endpoint(name: str, address: str, *, allow_http: bool) -> str:
    """Return the address without a slash at its end; raises ConfigurationError naming the setting ``name`` for what is
    none, has a password in it, or is neither encrypted nor on this machine although ``allow_http`` is not said.
    """
    parts = urlsplit(address.strip())
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{name}: must not have a name or password in it; credentials have their own variables"
        )
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        usable = usable and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(f"{name}: must be an address such as https://minio.example.com:9000")
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"{name}: http:// sends everything in the open; use https://, or say AWS_ALLOW_HTTP=true where the network "
            "is trusted"
        )
    return parts.geturl().rstrip("/")


def client_options(endpoint: str | None, request_seconds: float) -> ClientConfig:
    """Return how the library shall connect to a checked endpoint, None for the provider's own."""
    return {
        "allow_http": endpoint is not None and endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, request_seconds)),
        "timeout": timedelta(seconds=request_seconds),
    }


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
