"""Answers: what an exchange's HTTP answer means, in the words that the port's errors are made of.

A word is given only where the answer is certain. No word means doubt: an order may then exist. Each exchange's own
codes are in its dialect; here is what HTTP itself says, and how a text is made fit to be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, NoReturn

from trading_runtime.core.errors import ConfigurationError, FateUnknown
from trading_runtime.exchanges.port import NotPlaced

# The reasons of NotPlaced, and two that are not about one order.
Word = Literal[
    "rejected", "duplicate", "too_late", "rate_limit", "post_only", "funds", "filters", "unreachable",
    "credentials", "unknown_order",
]  # fmt: skip

_TEXT_LENGTH_MAX = 200
_ADDRESS = re.compile(r"(https?://[^\s?]*)\?\S*")
_SECRET_PARAMETER = re.compile(r"(?i)\b(signature|api-?key|secret|token|password|bfx-[a-z]+)\b[\"']?\s*[=:]\s*\S+")


class Answer(NamedTuple):
    """One HTTP answer: ``content`` is the JSON in it, None when there is none; ``message`` is the exchange's text."""

    status: int
    content: Any
    retry_seconds: float | None

    @property
    def code(self) -> int | None:
        """The exchange's code where the answer is an object that has one, as with Binance."""
        code = self.content.get("code") if isinstance(self.content, dict) else None
        try:
            return int(code) if code is not None else None
        except (TypeError, ValueError):
            return None

    @property
    def message(self) -> str:
        if isinstance(self.content, dict):
            return str(self.content.get("msg") or self.content.get("message") or "")
        if isinstance(self.content, list) and len(self.content) == 3 and self.content[0] == "error":
            return f"{self.content[1]} {self.content[2]}"
        return ""


class Trouble(NamedTuple):
    """Why there is no usable answer.

    word            what is certain, None when nothing is
    text            one line without a secret or a signed address
    is_temporary    whether asking a question again may help
    retry_seconds   how long the exchange wants to be left alone
    was_sent        whether anything may have left this computer
    """

    word: Word | None
    text: str
    is_temporary: bool
    retry_seconds: float | None
    was_sent: bool


def http_word(answer: Answer) -> Word | None:
    """Return what the status alone makes certain, whatever exchange it is.

    429 and 418 are refused before they are looked at (Binance, "IP limits"); so is a 403 of the firewall in front,
    which carries no code of the exchange. 451 is a place from which it does not serve.
    """
    if answer.status in (418, 429) or (answer.status == 403 and answer.code is None):
        return "rate_limit"
    if answer.status in (401, 451):
        return "credentials"
    return None


def raise_refused(exchange_id: str, what: str, trouble: Trouble) -> NoReturn:
    """Raise what a request that changes something means when it failed: NotPlaced, FateUnknown or ConfigurationError.

    No word, or one that cannot be meant here, is doubt.
    """
    text = f"{exchange_id}: {what}: {trouble.text}"
    if trouble.word == "credentials":
        raise ConfigurationError(text)
    if trouble.word is None or trouble.word == "unknown_order":
        raise FateUnknown(text)
    raise NotPlaced(trouble.word, text, retry_seconds=trouble.retry_seconds)


def shown(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text fit for an error: one line, cut, without secrets, signatures or the query of an address."""
    line = " ".join(str(text).split())
    for secret in secrets:
        line = line.replace(secret, "***")
    line = _SECRET_PARAMETER.sub(r"\1=***", _ADDRESS.sub(r"\1?***", line))
    return line[:_TEXT_LENGTH_MAX]
