"""The periodic status: equity, the trend sleeve, how BTC is valued and what that suggests. For strategies that tell it.

A strategy tells it by the facts of its decision (``allocation``, ``btc``, ``breaker``); another one has no status
message. What is not known is said to be unknown, never shown as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from trading_runtime.cycle.told.facts import flag_of, number_of, part_of
from trading_runtime.cycle.told.wording import Wording

# Below the first BTC counts as deeply, below the second as lowly valued.
DEEP_VALUE_AHR999: Final = 0.45
LOW_VALUE_AHR999: Final = 0.8
# From this share of the sell trigger on, taking profit is near.
NEAR_TRIGGER: Final = 0.9


def has_status(facts: Any) -> bool:
    """Whether these facts are of a strategy that has a status message."""
    return bool(part_of(facts, "allocation") or part_of(facts, "btc"))


def status_bucket(slot: int, status_hours: int) -> str:
    """Return the bucket (``YYYYMMDDHH``, UTC) of a slot that a status message is due at, empty for any other slot.

    ``status_hours`` is the interval, counted from 00:00 UTC; 0 or less: never.
    """
    moment = datetime.fromtimestamp(slot / 1000.0, UTC)
    if status_hours <= 0 or moment.hour % status_hours:
        return ""
    return moment.strftime("%Y%m%d%H")


def trend_equity(facts: Any) -> float | None:
    """Return what the trend sleeve is worth with its cash, in quote money; None when either part is unknown."""
    allocation = part_of(facts, "allocation")
    value, cash = number_of(allocation, "trend_value"), number_of(allocation, "trend_cash")
    return None if value is None or cash is None else value + cash


def hint_of(btc: Mapping[str, Any]) -> str:
    """Return the hint's name: the first of its rules that holds; "unknown" where one of them cannot be judged."""
    ahr999, zscore, trigger = (number_of(btc, name) for name in ("ahr999", "zscore", "sell_trigger"))
    if ahr999 is None:
        return "unknown"
    if ahr999 < DEEP_VALUE_AHR999:
        return "hint_deep_value"
    if ahr999 < LOW_VALUE_AHR999:
        return "hint_low_value"
    if zscore is None or trigger is None:
        return "unknown"
    if zscore >= trigger:
        return "hint_take_profit"
    if zscore >= NEAR_TRIGGER * trigger:
        return "hint_near_take_profit"
    return "hint_neutral"


def status_lines(facts: Any, currency: str, wording: Wording) -> list[str]:
    """Return the lines of the status message below its title."""
    allocation, btc, breaker = (part_of(facts, name) for name in ("allocation", "btc", "breaker"))
    regime = flag_of(btc, "regime_on")
    return [
        wording("total_equity", value=wording.money(number_of(allocation, "equity")), currency=currency),
        wording(
            "trend_equity",
            value=wording.money(trend_equity(facts)),
            currency=currency,
            fraction=wording.change(number_of(breaker, "profit_fraction")),
        ),
        wording("btc_price", value=wording.money(number_of(btc, "price")), currency=currency),
        wording("regime", value=wording("unknown" if regime is None else "on" if regime else "off")),
        wording("status_ahr999", value=wording.score(number_of(btc, "ahr999"))),
        wording(
            "status_zscore",
            value=wording.score(number_of(btc, "zscore")),
            trigger=wording.score(number_of(btc, "sell_trigger")),
        ),
        wording("btc_target", value=wording.share(number_of(allocation, "btc_ratio"))),
        wording("hint", value=wording(hint_of(btc))),
    ]
