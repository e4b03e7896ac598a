"""Intents: one wanted action each, with its reason, as a strategy writes it. Nothing here knows an account or a price.

An intent says how it is sized with exactly one of quantity, notional, close_fraction, target_weight or parent; without
one it is refused later, because a runtime that guesses sizes cannot be trusted.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Literal

from trading_runtime.core.errors import StrategyError

Side = Literal["buy", "sell"]
OrderKind = Literal["market", "limit", "stop", "take_profit", "cancel"]
TimeInForce = Literal["gtc", "ioc", "fok"]
FallbackReason = Literal["timeout", "post_only"]

LEG_LENGTH_MAX = 10
_SIZED_BY = ("quantity", "notional", "close_fraction", "target_weight")


class Intent:
    """One wanted action. A plain slotted class: it is made on the bar path.

    symbol, side    what and which way; a target weight has no side, it follows from the position
    kind            market; limit (``price``); stop and take_profit (``price`` is the trigger, then market); cancel (of
                    ``leg``)
    leg             the intent's name within its decision, [a-z0-9_], at most 10 characters; part of the client order id
    sizing          quantity (base units), notional (quote money), close_fraction (0..1 of the position), target_weight
                    (of equity,
                    signed); an intent with a ``parent`` and none of these takes the parent's filled quantity
    reduce_only     may only shrink the position; ends when the position does
    parent          leg of the same decision; the order is placed when the parent has filled
    time_in_force   gtc; ioc (what its first open does not fill ends); fok (all of it at its first open, or nothing)
    bars_max        the order ends after that many bars; None: never
    post_only       a limit that would take is rejected
    fallback        reasons for which a limit may become a market order: "timeout" (bars_max passed), "post_only"
                    (rejected as taking)
    """

    __slots__ = (
        "bars_max", "close_fraction", "fallback", "kind", "leg", "notional", "parent", "post_only", "price",
        "quantity", "reason", "reduce_only", "side", "symbol", "target_weight", "time_in_force",
    )  # fmt: skip

    def __init__(
        self,
        symbol: str,
        kind: OrderKind,
        side: Side | None = None,
        *,
        leg: str,
        quantity: float | None = None,
        notional: float | None = None,
        close_fraction: float | None = None,
        target_weight: float | None = None,
        price: float | None = None,
        reduce_only: bool = False,
        parent: str | None = None,
        time_in_force: TimeInForce = "gtc",
        bars_max: int | None = None,
        post_only: bool = False,
        fallback: tuple[FallbackReason, ...] = (),
        reason: str = "",
    ) -> None:
        self.symbol = symbol
        self.kind = kind
        self.side = side
        self.leg = leg
        self.quantity = quantity
        self.notional = notional
        self.close_fraction = close_fraction
        self.target_weight = target_weight
        self.price = price
        self.reduce_only = reduce_only
        self.parent = parent
        self.time_in_force = time_in_force
        self.bars_max = bars_max
        self.post_only = post_only
        self.fallback = fallback
        self.reason = reason

    def sizing(self) -> str | None:
        """Return the name of the sizing given, ``parent`` for one that follows its parent, None when there is none."""
        given = [name for name in _SIZED_BY if getattr(self, name) is not None]
        if len(given) > 1:
            raise StrategyError(f"{self.symbol} {self.leg}: an intent is sized one way, not by {' and '.join(given)}")
        if given:
            return given[0]
        return "parent" if self.parent is not None else None

    def to_json(self) -> dict[str, object]:
        """Return the fields that were given, for the journal and for comparisons."""
        content: dict[str, object] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if value is None or value is False or value == () or (name == "time_in_force" and value == "gtc"):
                continue
            content[name] = list(value) if isinstance(value, tuple) else value
        return content

    def __repr__(self) -> str:
        return f"Intent({', '.join(f'{name}={value!r}' for name, value in self.to_json().items())})"


_KINDS = frozenset(("market", "limit", "stop", "take_profit", "cancel"))
_SIDES = frozenset(("buy", "sell"))
_TIMES_IN_FORCE = frozenset(("gtc", "ioc", "fok"))
_FALLBACKS = frozenset(("timeout", "post_only"))


def checked_intent(intent: object) -> Intent:
    """Return ``intent`` when it contradicts neither itself nor the types it is made of; raises StrategyError otherwise.

    Sizes and prices that are numbers but make no sense at present (more than a position, no cash) are for the gates.
    """
    if type(intent) is not Intent:
        raise StrategyError(f"an intent must be an Intent, not {type(intent).__name__}")
    if type(intent.symbol) is not str or type(intent.leg) is not str or type(intent.reason) is not str:
        raise StrategyError(f"symbol, leg and reason of an intent are texts: {intent!r}")
    trouble = _trouble(intent)
    if trouble is not None:
        raise StrategyError(f"{intent.symbol} {intent.leg}: {trouble}")
    return intent


def _trouble(intent: Any) -> str | None:  # Any: a strategy may have put anything into the fields
    kind = intent.kind
    if not isinstance(kind, str) or kind not in _KINDS:
        return f"kind must be one of {', '.join(sorted(_KINDS))}, not {kind!r}"
    if intent.side is not None and not (isinstance(intent.side, str) and intent.side in _SIDES):
        return f"side must be 'buy' or 'sell', not {intent.side!r}"
    for name in _SIZED_BY:
        value = getattr(intent, name)
        if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
            return f"{name} must be a number, not {value!r}"
    if kind == "cancel":
        return None
    if kind == "market":
        if intent.price is not None or intent.post_only or intent.fallback:
            return "a market order has neither price nor post_only nor fallback"
    else:
        price = intent.price
        if price is not None and not (isinstance(price, (int, float)) and isfinite(price)):
            return f"the price of a {kind} order must be a finite number, not {price!r}"
    if intent.target_weight is not None and intent.side is not None:
        return "a target weight has no side: it follows from the position"
    if not isinstance(intent.time_in_force, str) or intent.time_in_force not in _TIMES_IN_FORCE:
        return f"time_in_force must be gtc, ioc or fok, not {intent.time_in_force!r}"
    if intent.bars_max is not None and (type(intent.bars_max) is not int or intent.bars_max < 1):
        return f"bars_max must be a whole number of bars, at least 1, not {intent.bars_max!r}"
    if intent.fallback and (type(intent.fallback) is not tuple or not _FALLBACKS.issuperset(intent.fallback)):
        return f"fallback must be a tuple of 'timeout' and 'post_only', not {intent.fallback!r}"
    if intent.parent is not None and type(intent.parent) is not str:
        return f"parent must be the leg of another intent, not {intent.parent!r}"
    return None


def target(symbol: str, weight: float, *, reason: str = "", leg: str = "target") -> Intent:
    """Hold ``weight`` of equity in ``symbol`` (0 is flat, negative is short), by one market order. Replaces an order of
    the same leg.
    """
    return Intent(symbol, "market", None, leg=leg, target_weight=weight, reason=reason)


def market(
    symbol: str,
    side: Side,
    *,
    quantity: float | None = None,
    notional: float | None = None,
    reduce_only: bool = False,
    leg: str = "entry",
    reason: str = "",
) -> Intent:
    """Buy or sell at the next price there is."""
    return Intent(
        symbol, "market", side, leg=leg, quantity=quantity, notional=notional, reduce_only=reduce_only, reason=reason
    )


def close(symbol: str, fraction: float = 1.0, *, leg: str = "close", reason: str = "") -> Intent:
    """Close that share of the position at the next price there is."""
    return Intent(symbol, "market", None, leg=leg, close_fraction=fraction, reduce_only=True, reason=reason)


def limit(
    symbol: str,
    side: Side,
    price: float,
    *,
    quantity: float | None = None,
    notional: float | None = None,
    close_fraction: float | None = None,
    reduce_only: bool = False,
    parent: str | None = None,
    time_in_force: TimeInForce = "gtc",
    bars_max: int | None = None,
    post_only: bool = False,
    fallback: tuple[FallbackReason, ...] = (),
    leg: str = "entry",
    reason: str = "",
) -> Intent:
    """Buy at ``price`` or lower, sell at ``price`` or higher."""
    return Intent(
        symbol,
        "limit",
        side,
        leg=leg,
        quantity=quantity,
        notional=notional,
        close_fraction=close_fraction,
        price=price,
        reduce_only=reduce_only or close_fraction is not None,
        parent=parent,
        time_in_force=time_in_force,
        bars_max=bars_max,
        post_only=post_only,
        fallback=fallback,
        reason=reason,
    )


def stop(
    symbol: str,
    side: Side,
    price: float,
    *,
    quantity: float | None = None,
    notional: float | None = None,
    close_fraction: float | None = None,
    reduce_only: bool = True,
    parent: str | None = None,
    bars_max: int | None = None,
    leg: str = "stop",
    reason: str = "",
) -> Intent:
    """A market order once the price reaches ``price`` from the better side: a stop loss, or an entry with
    reduce_only=False.
    """
    return Intent(
        symbol,
        "stop",
        side,
        leg=leg,
        quantity=quantity,
        notional=notional,
        close_fraction=close_fraction,
        price=price,
        reduce_only=reduce_only,
        parent=parent,
        bars_max=bars_max,
        reason=reason,
    )


def take_profit(
    symbol: str,
    side: Side,
    price: float,
    *,
    quantity: float | None = None,
    close_fraction: float | None = None,
    parent: str | None = None,
    bars_max: int | None = None,
    leg: str = "profit",
    reason: str = "",
) -> Intent:
    """A reducing market order once the price reaches ``price`` to one's advantage."""
    return Intent(
        symbol,
        "take_profit",
        side,
        leg=leg,
        quantity=quantity,
        close_fraction=close_fraction,
        price=price,
        reduce_only=True,
        parent=parent,
        bars_max=bars_max,
        reason=reason,
    )


def cancel(symbol: str, leg: str, *, reason: str = "") -> Intent:
    """End the open order of that leg, if there is one."""
    return Intent(symbol, "cancel", None, leg=leg, reason=reason)
