"""Intents: one wanted action each, with its reason, as a strategy writes it. Nothing here knows an account or a price.

An intent says how it is sized with exactly one of quantity, notional, close_fraction, target_weight or parent; without
one it is refused later, because a runtime that guesses sizes cannot be trusted.
"""

from __future__ import annotations

from typing import Literal

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
    time_in_force   gtc; ioc (what its first bar does not fill ends); fok (all of it in its first bar, or nothing)
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
