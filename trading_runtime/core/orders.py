r"""Client order ids: a pure function of account, strategy, symbol, slot and leg, at most 36 characters, parseable back.

    tr-<12 characters: hash of account, strategy and symbol>-<slot in seconds, hexadecimal>-<leg>

The same decision always has the same id, on any machine and after any crash; that is what lets an exchange be asked
about it. The alphabet is a subset of what Binance accepts for newClientOrderId (``^[\.A-Z\:/a-z0-9_-]{1,36}$``, spot
REST documentation).
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.intents import LEG_LENGTH_MAX

ORDER_ID_LENGTH_MAX = 36
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_SECONDS_MAX = 16**8  # the year 2106; longer slots would not fit into 36 characters
_LEG = re.compile(rf"[a-z0-9_]{{1,{LEG_LENGTH_MAX}}}")
# The slot has no leading zeros: what is parsed could have been made here, to the letter.
_ORDER_ID = re.compile(rf"tr-([0-9a-z]{{12}})-(0|[1-9a-f][0-9a-f]{{0,7}})-([a-z0-9_]{{1,{LEG_LENGTH_MAX}}})")


class OrderIdParts(NamedTuple):
    """What a client order id says: ``owner`` is ``order_owner(account, strategy, symbol)``, ``slot`` is in
    milliseconds.
    """

    owner: str
    slot: int
    leg: str


@lru_cache(maxsize=4096)
def order_owner(account: str, strategy: str, symbol: str) -> str:
    """Return 12 base-36 characters (about 62 bits of SHA-256) that stand for account, strategy and symbol."""
    digest = hashlib.sha256("\x1f".join((account, strategy, symbol)).encode()).digest()
    return _base36(int.from_bytes(digest[:8], "big")).zfill(13)[-12:]


def client_order_id(account: str, strategy: str, symbol: str, slot: int, leg: str) -> str:
    """Return the id; raises StrategyError for a leg that is not 1 to 10 of [a-z0-9_] or a slot that is not a whole
    second.
    """
    seconds, rest = divmod(slot, 1000)
    if rest or not 0 <= seconds < _SECONDS_MAX:
        raise StrategyError(f"slot {slot} is not a whole second between 1970 and 2106")
    return f"tr-{order_owner(account, strategy, symbol)}-{seconds:x}-{_checked_leg(leg)}"


@lru_cache(maxsize=4096)
def _checked_leg(leg: str) -> str:
    if not _LEG.fullmatch(leg):
        raise StrategyError(f"leg {leg!r} must be 1 to {LEG_LENGTH_MAX} characters of a-z, 0-9 and _")
    return leg


def parse_client_order_id(order_id: str) -> OrderIdParts | None:
    """Return the parts of an id this runtime made, or None for any other."""
    match = _ORDER_ID.fullmatch(order_id)
    return OrderIdParts(match[1], int(match[2], 16) * 1000, match[3]) if match else None


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
