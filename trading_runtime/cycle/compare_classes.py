"""The difference between two runs' profit, order by order and by class, exact to the unit.

    profit = cash − flows + positions at the final mark, since the common start

    decision             an order, or a part of it, that only one side decided, because the decisions differ
    data_revision        the same, where the bars that the two decisions saw differ
    rejected_or_partial  decided on both sides, but filled on one only, or in different quantities
    timing               filled in another bar: what the price differs by
    price                filled in the same bar at another price
    fee                  fees of what both filled
    funding              what perpetuals paid
    rounding             positions are valued as a whole, orders one by one: the units that this leaves

A fee that was taken in coins counts at its fill's price; what those coins would have gained or lost since goes with the
next order of the symbol that trades another quantity for want of them, or with the fees when none does.

Orders are the same when their client order ids are. An order contributes −side · value − fees + its quantity at the
final mark; what both sides filled is compared part by part, the rest of the longer fill belongs to its quantity. Pure
arithmetic on integers: where fills come from is ``compare_live.py``'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from trading_runtime.core.ledger import divide_half_even
from trading_runtime.core.money import quote_value

CLASSES = (
    "decision",
    "data_revision",
    "rejected_or_partial",
    "timing",
    "price",
    "fee",
    "funding",
    "rounding",
)

# Classes of what only one side traded.
_QUANTITY = frozenset({"decision", "data_revision", "rejected_or_partial"})


@dataclass
class OrderFills:
    """What one order came to: units, quote units, fees in money; ``coins`` are units that fees took from the coins
    themselves, worth ``coins_value`` when they did; ``bars`` the open times of the bars it filled in.
    """

    order_id: str
    symbol: str
    slot: int
    side: int
    quantity: int = 0
    value: int = 0
    fee: int = 0
    coins: int = 0
    coins_value: int = 0
    bars: set[int] = field(default_factory=set)

    def fill(self, quantity: int, value: int, fee: int, bar: int) -> None:
        self.quantity += quantity
        self.value += value
        self.fee += fee
        self.bars.add(bar)


@dataclass
class Side:
    """One side of the comparison: fills by order id, funding paid by symbol (quote units, positive when paid)."""

    orders: dict[str, OrderFills] = field(default_factory=dict)
    funding: dict[str, int] = field(default_factory=dict)

    def order(self, order_id: str, symbol: str, slot: int, side: int) -> OrderFills:
        return self.orders.setdefault(order_id, OrderFills(order_id, symbol, slot, side))


class Mark(NamedTuple):
    """How a symbol's quantities are valued at the end: final price, quote units per quantity unit at a price of 1."""

    price: float
    value_per_unit: float

    def value(self, quantity: int) -> int:
        return quote_value(self.price, quantity, self.value_per_unit)


class Line(NamedTuple):
    """One part of the difference: ``amount`` quote units by which the live side came out better (negative: worse).
    ``order_id`` and ``slot`` are empty for what belongs to no order.
    """

    kind: str
    amount: int
    symbol: str
    order_id: str
    slot: int | None
    detail: str


# Why an order's quantities differ: "decision", "data_revision" or "rejected_or_partial", by slot and order id.
QuantityClass = Callable[[int, str], str]


def explain(
    live: Side,
    backtest: Side,
    start: Mapping[str, int],
    marks: Mapping[str, Mark],
    quantity_class: QuantityClass,
) -> list[Line]:
    """Return every line that is not zero, by slot; their sum is the difference of the two profits, live minus backtest.

    ``start`` are the quantities, in units, that both sides began with; ``marks`` has every symbol of both sides.
    """
    lines: list[Line] = []
    waiting: dict[str, list[int]] = {}
    ids = {**live.orders, **backtest.orders}
    for order_id in sorted(ids, key=lambda one: (ids[one].slot, one)):
        symbol, slot = ids[order_id].symbol, ids[order_id].slot
        mark, pair = marks[symbol], (live.orders.get(order_id), backtest.orders.get(order_id))
        found = _of_order(*pair, mark, quantity_class)
        kind = next((line.kind for line in found if line.kind in _QUANTITY), None)
        if kind is not None:
            for index in waiting.pop(symbol, []):
                lines[index] = lines[index]._replace(kind=kind)
        lines += found
        coins = _coins(pair[1], mark) - _coins(pair[0], mark)
        if coins:
            waiting.setdefault(symbol, []).append(len(lines))
            lines.append(Line("fee", coins, symbol, order_id, slot, "coins that the fee took, at the final mark"))
    for symbol in sorted(marks):
        paid, simulated = live.funding.get(symbol, 0), backtest.funding.get(symbol, 0)
        lines.append(Line("funding", simulated - paid, symbol, "", None, f"paid {paid}, in the backtest {simulated}"))
        quantity = start.get(symbol, 0)
        rest = _rounding(live, symbol, quantity, marks[symbol]) - _rounding(backtest, symbol, quantity, marks[symbol])
        lines.append(Line("rounding", rest, symbol, "", None, "positions as a whole against order by order"))
    return [line for line in lines if line.amount]


def totals(lines: list[Line]) -> dict[str, int]:
    """Return the sum of each class, in the order of ``CLASSES``."""
    return {kind: sum(line.amount for line in lines if line.kind == kind) for kind in CLASSES}


def profit(side: Side, start: Mapping[str, int], marks: Mapping[str, Mark]) -> int:
    """Return what a side earned from the start on, but for the change in value of what it started with."""
    money = -sum(one.side * one.value + one.fee for one in side.orders.values()) - sum(side.funding.values())
    return money + sum(
        mark.value(_final(side, symbol, start.get(symbol, 0))) - mark.value(start.get(symbol, 0))
        for symbol, mark in marks.items()
    )


def _of_order(
    live: OrderFills | None, backtest: OrderFills | None, mark: Mark, quantity_class: QuantityClass
) -> list[Line]:
    one = live if live is not None else backtest
    assert one is not None

    def line(kind: str, amount: int, detail: str) -> Line:
        return Line(kind, amount, one.symbol, one.order_id, one.slot, detail)

    whole = (0 if live is None else _contribution(live, mark)) - (
        0 if backtest is None else _contribution(backtest, mark)
    )
    if live is None or backtest is None:
        filled = "in the backtest only" if live is None else "live only"
        return [line(quantity_class(one.slot, one.order_id), whole, f"filled {filled}")]
    if live.side != backtest.side:
        return [line(quantity_class(one.slot, one.order_id), whole, "bought on one side, sold on the other")]
    common = min(live.quantity, backtest.quantity)
    values = _share(live.value, common, live.quantity), _share(backtest.value, common, backtest.quantity)
    fees = _share(_fees(live), common, live.quantity), _share(_fees(backtest), common, backtest.quantity)
    price = -live.side * (values[0] - values[1])
    is_timing = live.bars != backtest.bars
    found = [
        line("timing", price, "filled in another bar") if is_timing else line("price", price, "at another price"),
        line("fee", fees[1] - fees[0], f"fee {fees[0]}, in the backtest {fees[1]}"),
    ]
    rest = whole - price - (fees[1] - fees[0])
    if rest:
        detail = f"filled {live.quantity} units, in the backtest {backtest.quantity}"
        found.append(line(quantity_class(one.slot, one.order_id), rest, detail))
    return [line for line in found if line.amount]


def _contribution(order: OrderFills, mark: Mark) -> int:
    """What an order earned up to the final mark, with coins that fees took at what they were worth then."""
    return -order.side * order.value + order.side * mark.value(order.quantity) - _fees(order)


def _fees(order: OrderFills) -> int:
    return order.fee + order.coins_value


def _coins(order: OrderFills | None, mark: Mark) -> int:
    """What the coins that fees took are worth at the final mark more than when they were taken."""
    return 0 if order is None else mark.value(order.coins) - order.coins_value


def _share(amount: int, part: int, whole: int) -> int:
    return amount if part == whole else divide_half_even(amount * part, whole)


def _final(side: Side, symbol: str, quantity: int) -> int:
    return quantity + sum(one.side * one.quantity - one.coins for one in side.orders.values() if one.symbol == symbol)


def _rounding(side: Side, symbol: str, quantity: int, mark: Mark) -> int:
    """What valuing the final position as a whole gives more than valuing each order's part of it."""
    parts = sum(
        one.side * mark.value(one.quantity) - mark.value(one.coins)
        for one in side.orders.values()
        if one.symbol == symbol
    )
    return mark.value(_final(side, symbol, quantity)) - parts
