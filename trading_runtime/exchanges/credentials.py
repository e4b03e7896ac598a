"""Credentials: where an exchange's key and secret come from. They are read here, given to the client, shown nowhere.

    BINANCE_API_KEY        or BINANCE_API_KEY_FILE        the file that holds it, such as a mounted secret
    BINANCE_API_SECRET     or BINANCE_API_SECRET_FILE
    OKX_API_PASSWORD       or OKX_API_PASSWORD_FILE       only for exchanges that give a third part

Binance spot (``binance``) and USD-M futures (``binanceusdm``) are one account and share their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trading_runtime.core.errors import ConfigurationError

_SHARED_PREFIX = {"binanceusdm": "BINANCE"}
_FILE_BYTES_MAX = 16_384  # an RSA key in PEM is about 3 KB


@dataclass(frozen=True)
class Credentials:
    """What signs requests; ``repr`` shows none of it."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that must never be shown."""
        return tuple(text for text in (self.key, self.secret, self.password) if text)


def variable_names(exchange_id: str) -> tuple[str, str, str]:
    """Return the names of the environment variables for key, secret and password."""
    prefix = _SHARED_PREFIX.get(exchange_id, exchange_id.upper())
    return f"{prefix}_API_KEY", f"{prefix}_API_SECRET", f"{prefix}_API_PASSWORD"


def credentials_from_environment(exchange_id: str, environ: Mapping[str, str]) -> Credentials | None:
    """Return the credentials, None when neither key nor secret is given.

    Raises ConfigurationError when only one of them is, when a variable is given both directly and as a file, or when
    a file cannot be read.
    """
    names = variable_names(exchange_id)
    key, secret, password = (_value(name, environ) for name in names)
    if key is None and secret is None:
        return None
    if key is None or secret is None:
        missing = names[0] if key is None else names[1]
        raise ConfigurationError(f"{exchange_id}: {missing} is missing (or {missing}_FILE); its other half is set")
    return Credentials(key, secret, password)


def _value(name: str, environ: Mapping[str, str]) -> str | None:
    """Return a variable or the content of the file it names; white space around it, such as a newline, is dropped."""
    direct, path = environ.get(name, "").strip(), environ.get(f"{name}_FILE", "").strip()
    if direct and path:
        raise ConfigurationError(f"{name} and {name}_FILE are both set: unset one of them")
    if not path:
        return direct or None
    try:
        with Path(path).open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
        text = content.decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}_FILE: {path} cannot be read: {type(error).__name__}") from None
    if not text or len(content) > _FILE_BYTES_MAX:
        raise ConfigurationError(f"{name}_FILE: {path} is empty or larger than {_FILE_BYTES_MAX} bytes")
    return text
