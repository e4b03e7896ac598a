"""Secrets out of texts: the values of secret environment variables, and what looks like a credential anywhere.

Used by every log line, by notifications and for errors on their way to standard error. It is the last line, not the
first: texts are written without secrets, and this catches what a library put into its own message. A value shorter than
four characters is not looked for: it would be found in every other word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

HIDDEN = "***"
SECRET_LENGTH_MIN = 4
# A line of a secret with several (a private key) is looked for by itself when it is this long.
_LINE_LENGTH_MIN = 16

# TG_TOKEN, BINANCE_API_KEY, BINANCE_API_SECRET, DB_PASSWORD. Not NAME_FILE: that is where a secret lies. Not PWD.
_SECRET_VARIABLE = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|KEY|APIKEY|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)$", flags=re.IGNORECASE
)

_NAMES = (
    r"signature|api[-_]?key|api[-_]?secret|api[-_]?sign|x-mbx-apikey|bfx-apikey|bfx-signature|listen[-_]?key|secret"
    r"|secret[-_]?key|client[-_]?secret|private[-_]?key|password|passphrase|access[-_]?token|refresh[-_]?token|id[-_]?token"
    r"|bot[-_]?token"
)
_SECRET_NAME = re.compile(rf"(?:^|[-_.])(?:{_NAMES}|authorization)$", flags=re.IGNORECASE)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # PEM blocks, with line breaks real or written as \n.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    # The token in the path of the Telegram Bot API, and by itself.
    (re.compile(r"\b(bot)?\d{6,12}(?::|%3A)[A-Za-z0-9_-]{30,}", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    (
        re.compile(r"\b(authorization[\"']?\s*[:=]\s*[\"']?)(?:(?:Bearer|Basic)\s+)?[^\s\"',;]+", re.IGNORECASE),
        rf"\g<1>{HIDDEN}",
    ),
    (re.compile(r"\b(Bearer)\s+[A-Za-z0-9._~+/=-]{16,}", re.IGNORECASE), rf"\g<1> {HIDDEN}"),
    # name:password@host of an address.
    (re.compile(r"(://[^/\s:@]+):[^/\s@]+@"), rf"\g<1>:{HIDDEN}@"),
    # ?token=value of an address: names that are too common in prose to be looked for anywhere else.
    (
        re.compile(
            r"([?&](?:token|key|sig|auth|x-amz-credential|x-amz-security-token|x-goog-credential)=)[^&#\s\"'<>]+",
            re.IGNORECASE,
        ),
        rf"\g<1>{HIDDEN}",
    ),
    # name=value, "name": "value", 'name': 'value', Name: value; without its last quote where a text was cut.
    (
        re.compile(
            rf"(?<![A-Za-z0-9])({_NAMES})((?:\\?[\"'])?\s*(?:=|:|%3D)\s*)(\\?\"[^\"]*\"?|'[^']*'?|[^\s\"'&,;)}}\]]+)",
            re.IGNORECASE,
        ),
        rf"\g<1>\g<2>{HIDDEN}",
    ),
)  # fmt: skip


class Redactor:
    """Replaces secrets in texts. The environment is read once, when this is made."""

    __slots__ = ("_values",)

    def __init__(self, environment: Mapping[str, str]) -> None:
        spellings = {
            spelling
            for name, value in environment.items()
            if _SECRET_VARIABLE.search(name)
            for spelling in _spellings(value)
        }
        # The longest first: one secret may be the beginning of another.
        ordered = sorted(spellings, key=lambda text: (-len(text), text))
        self._values = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        """Return ``text`` with ``***`` in place of every secret."""
        if self._values is not None:
            text = self._values.sub(HIDDEN, text)
        for pattern, hidden in _PATTERNS:
            text = pattern.sub(hidden, text)
        return text

    def __repr__(self) -> str:
        return "Redactor()"


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return ``text`` without secrets: of this process's environment, unless another one is given."""
    if environment is None:
        import os

        environment = os.environ
    return Redactor(environment)(text)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret, whatever its value looks like."""
    return _SECRET_NAME.search(name) is not None


def _spellings(value: str) -> set[str]:
    """The ways in which a secret may be written: as it is, in an address, in JSON, as Python shows it, line by line."""
    plain = {value, value.strip()}
    plain.update(line.strip() for line in value.splitlines() if len(line.strip()) >= _LINE_LENGTH_MIN)
    written = {
        spelling
        for text in plain
        for spelling in (
            text,
            quote(text, safe="", errors="replace"),
            quote_plus(text, errors="replace"),
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
            repr(text)[1:-1],
        )
    }
    return {text for text in written if len(text) >= SECRET_LENGTH_MIN}
