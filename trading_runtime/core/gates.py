"""The gates: one ordered chain that every intent passes before it becomes an order, the same live and in a backtest.

    armed → mode → control → lease → risk state → symbol → filters → caps → breakers → cash → duplicates → permissions →
    data quality → router

A gate returns a refusal or nothing. The chain is cumulative: ``Book`` is updated by each accepted order, so that two
intents of one decision cannot together exceed what each alone may do. A reduction passes every gate that only guards
new risk: a halt never blocks a close. Sizing happens before, in ``decision.py``; nothing here enlarges or shrinks an
order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from types import MappingProxyType
from typing import NamedTuple

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.instruments import Instrument, Rules
from trading_runtime.core.money import fee_amount, quote_value
from trading_runtime.core.refusals import Refusal
from trading_runtime.core.state import Order, State
from trading_runtime.core.strategy import Permissions


class Caps(NamedTuple):
    """Account limits in quote units; None is no limit. ``leverage_max`` bounds gross position value / equity for
    perpetuals.
    """

    order_notional_max: int | None = None
    symbol_notional_max: int | None = None
    leverage_max: float = 1.0


class Guards(NamedTuple):
    """What live trading knows and a backtest takes for granted; every False means: no new risk.

    ``distrusted_symbols`` take no new risk either. Of ``frozen_symbols`` one does not even know what is held, because
    an order that reduces may or may not have been done: of them spot is not traded at all, lest coins be sold twice.
    ``details`` gives the reasons by gate, those of a distrusted symbol under ``data_quality:<symbol>``.
    """

    armed: bool = True
    mode_allows_orders: bool = True
    control_allows_risk: bool = True
    lease_held: bool = True
    risk_state_allows_risk: bool = True
    breakers_allow_risk: bool = True
    distrusted_symbols: frozenset[str] = frozenset()
    frozen_symbols: frozenset[str] = frozenset()
    details: Mapping[str, str] = MappingProxyType({})

    def detail(self, gate: str, otherwise: str) -> str:
        """What a refusal of ``gate`` says: the reason that was given (for ``data_quality`` by symbol), or this."""
        return self.details.get(gate, otherwise)


class Book:
    """The account as the gates see it during one decision: the state, plus what this decision has already accepted.

    ``quantities`` counts accepted market orders as done. ``buying`` and ``selling`` are what open and accepted orders
    may yet add on each side, reduce-only ones left out: limits are measured at the worst of what they may come to.
    ``available`` is cash in quote units less what open and accepted buys of spot will need, plus what accepted market
    sells will bring. ``suspended`` symbols are held at their last known mark and cannot be traded: limits count them at
    that mark, ``equity``, which orders are sized by, with what is certain of them.
    """

    __slots__ = (
        "available", "buying", "caps", "equity", "gates", "guards", "instruments", "marks", "open_legs", "permissions",
        "quantities", "rules", "selling", "suspended", "symbols",
    )  # fmt: skip

    def __init__(
        self,
        state: State,
        instruments: Mapping[str, Instrument],
        rules: Mapping[str, Rules],
        marks: Mapping[str, float],
        permissions: Permissions,
        caps: Caps,
        guards: Guards,
        suspended: Set[str] = frozenset(),
    ) -> None:
        self.instruments = instruments
        self.rules = rules
        self.marks = marks
        self.permissions = permissions
        self.caps = caps
        self.guards = guards
        self.gates = _GATES_WITHOUT_GUARDS if guards == _NO_GUARDS else GATES
        self.suspended = suspended
        self.symbols = instruments.keys() - suspended if suspended else instruments.keys()
        self.quantities: dict[str, int] = {}
        self.buying: dict[str, int] = {}
        self.selling: dict[str, int] = {}
        equity = available = state.cash
        for symbol, position in state.positions.items():
            quantity = position.quantity
            if quantity:
                instrument = instruments.get(symbol)
                if instrument is None or symbol not in marks:
                    raise StrategyError(f"{symbol} is held, but it is not part of this run or has no price")
                self.quantities[symbol] = quantity
                value = quote_value(marks[symbol], quantity, instrument.value_per_unit)
                equity += certain_value(value, position.cost, instrument) if symbol in suspended else value
                if instrument.kind != "spot":
                    available += position.cost  # buying a contract spends no cash, selling one short brings none
        self.equity = equity
        self.available = available
        self.open_legs: set[tuple[str, str]] = set()
        for order in state.orders.values():
            self.count(order, 1)

    def count(self, order: Order, sign: int) -> None:
        """Count an open order in (``sign`` +1) or out again (-1): its leg, its side, the cash it needs."""
        leg = (order.symbol, order.leg)
        if sign > 0:
            self.open_legs.add(leg)
        else:
            self.open_legs.discard(leg)
        if order.reduce_only:
            return
        pending = self.buying if order.side > 0 else self.selling
        pending[order.symbol] = pending.get(order.symbol, 0) + sign * order.remaining
        if order.side > 0 and order.parent is None and self.instruments[order.symbol].kind == "spot":
            self.available -= sign * self.cost(order.symbol, order.remaining, order.price)

    def value(self, symbol: str, quantity: int, price: float | None = None) -> int:
        """Quote units of ``quantity`` at ``price``, or at the mark."""
        return quote_value(
            self.marks[symbol] if price is None else price, quantity, self.instruments[symbol].value_per_unit
        )

    def cost(self, symbol: str, quantity: int, price: float | None = None) -> int:
        """Value and taker fee of a buy."""
        value = self.value(symbol, quantity, price)
        return value + fee_amount(value, self.rules[symbol].taker_fee_rate)

    def is_reduction(self, order: Order) -> bool:
        """Whether the order can only shrink the position, whatever else that is open fills before it."""
        if order.reduce_only:
            return True
        held = self.quantities.get(order.symbol, 0)
        if held * order.side >= 0:
            return False
        pending = self.buying if order.side > 0 else self.selling
        return order.quantity + pending.get(order.symbol, 0) <= abs(held)

    def worst_quantity(self, symbol: str, side: int = 0, quantity: int = 0) -> int:
        """The largest position, either way, that open orders and one more may come to."""
        held = self.quantities.get(symbol, 0)
        longest = held + self.buying.get(symbol, 0) + (quantity if side > 0 else 0)
        shortest = held - self.selling.get(symbol, 0) - (quantity if side < 0 else 0)
        return max(abs(longest), abs(shortest))

    def accept(self, order: Order) -> None:
        """Count an accepted order into the account that the next intent of this decision meets."""
        if order.kind != "market" or order.parent is not None:
            self.count(order, 1)
            return
        symbol = order.symbol
        self.open_legs.add((symbol, order.leg))
        self.quantities[symbol] = self.quantities.get(symbol, 0) + order.side * order.quantity
        if self.instruments[symbol].kind == "spot":
            value = self.value(symbol, order.quantity)
            fee = fee_amount(value, self.rules[symbol].taker_fee_rate)
            self.available -= order.side * value + fee


def certain_value(value: int, cost: int, instrument: Instrument) -> int:
    """Return what orders may be sized by of a holding whose market does not trade, which is worth ``value`` at its last
    known mark: coins may never be sold again, a contract's profit may never be made. All in quote units.
    """
    return min(value, 0 if instrument.kind == "spot" else cost)


def _armed(order: Order, book: Book, reduces: bool) -> str | None:
    return None if book.guards.armed else book.guards.detail("armed", "the account is not armed")


def _mode(order: Order, book: Book, reduces: bool) -> str | None:
    return None if book.guards.mode_allows_orders else book.guards.detail("mode", "this mode sends no orders")


def _control(order: Order, book: Book, reduces: bool) -> str | None:
    if reduces or book.guards.control_allows_risk:
        return None
    return book.guards.detail("control", "halted or paused: only reductions pass")


def _lease(order: Order, book: Book, reduces: bool) -> str | None:
    return None if book.guards.lease_held else book.guards.detail("lease", "another process holds the lease")


def _risk_state(order: Order, book: Book, reduces: bool) -> str | None:
    if reduces or book.guards.risk_state_allows_risk:
        return None
    return book.guards.detail("risk_state", "the risk state allows reductions only")


def _symbol(order: Order, book: Book, reduces: bool) -> str | None:
    return None if order.symbol in book.symbols else not_traded_detail(order.symbol, book)


def _filters(order: Order, book: Book, reduces: bool) -> str | None:
    instrument, rules = book.instruments[order.symbol], book.rules[order.symbol]
    quantity = order.quantity
    if quantity <= 0:
        return quantity_zero_detail(instrument, rules)
    if quantity < rules.quantity_minimum:
        return quantity_minimum_detail(instrument, rules, quantity)
    if quantity > rules.quantity_maximum:
        return quantity_maximum_detail(instrument, rules, quantity)
    if rules.notional_minimum and not (reduces and instrument.kind == "perpetual"):
        value = book.value(order.symbol, quantity, order.price)
        if value < rules.notional_minimum:
            return notional_minimum_detail(instrument, rules, value)
    return None


def _caps(order: Order, book: Book, reduces: bool) -> str | None:
    if reduces:
        return None
    instrument, caps = book.instruments[order.symbol], book.caps
    value = book.value(order.symbol, order.quantity)
    if caps.order_notional_max is not None and value > caps.order_notional_max:
        return order_cap_detail(instrument, value, caps.order_notional_max)
    after = book.value(order.symbol, book.worst_quantity(order.symbol, order.side, order.quantity))
    if caps.symbol_notional_max is not None and after > caps.symbol_notional_max:
        return symbol_cap_detail(instrument, after, caps.symbol_notional_max)
    if instrument.kind == "perpetual":
        gross = after
        for symbol in book.marks:
            if symbol != order.symbol:
                gross += book.value(symbol, book.worst_quantity(symbol))
        if not float(gross) <= caps.leverage_max * book.equity:  # so written that NaN refuses
            return leverage_detail(instrument, gross, book.equity, caps.leverage_max)
    return None


def _breakers(order: Order, book: Book, reduces: bool) -> str | None:
    if reduces or book.guards.breakers_allow_risk:
        return None
    return book.guards.detail("breakers", "a drawdown or loss breaker has tripped")


def _cash(order: Order, book: Book, reduces: bool) -> str | None:
    instrument = book.instruments[order.symbol]
    if reduces or instrument.kind != "spot" or order.side < 0 or order.parent is not None:
        return None
    cost = book.cost(order.symbol, order.quantity, order.price)
    return None if cost <= book.available else cash_detail(instrument, cost, book.available)


def _duplicates(order: Order, book: Book, reduces: bool) -> str | None:
    return f"an order of leg {order.leg!r} is already open" if (order.symbol, order.leg) in book.open_legs else None


def _permissions(order: Order, book: Book, reduces: bool) -> str | None:
    if reduces:
        return None
    if not book.permissions.new_risk:
        return NO_NEW_RISK_DETAIL
    if order.side > 0 or (book.permissions.short and book.instruments[order.symbol].kind == "perpetual"):
        return None
    left = book.quantities.get(order.symbol, 0) - book.selling.get(order.symbol, 0) - order.quantity
    return short_detail(book.instruments[order.symbol]) if left < 0 else None


def _data_quality(order: Order, book: Book, reduces: bool) -> str | None:
    guards = book.guards
    if order.symbol in guards.frozen_symbols and not (order.reduce_only and _is_contract(order, book)):
        return guards.detail(f"data_quality:{order.symbol}", "what is held of the symbol is not known")
    if reduces or order.symbol not in guards.distrusted_symbols:
        return None
    return book.guards.detail(f"data_quality:{order.symbol}", "the symbol's data is not trusted")


def _is_contract(order: Order, book: Book) -> bool:
    return book.instruments[order.symbol].kind != "spot"


def _router(order: Order, book: Book, reduces: bool) -> str | None:
    if order.kind != "market" and (order.price is None or order.price <= 0.0):
        return f"a {order.kind} order needs a positive price"
    return None


Gate = Callable[[Order, Book, bool], str | None]

# name, category, gate: in the order of the contract.
GATES: tuple[tuple[str, str, Gate], ...] = (
    ("armed", "safety", _armed),
    ("mode", "safety", _mode),
    ("control", "safety", _control),
    ("lease", "safety", _lease),
    ("risk_state", "safety", _risk_state),
    ("symbol", "limits", _symbol),
    ("filters", "limits", _filters),
    ("caps", "limits", _caps),
    ("breakers", "safety", _breakers),
    ("cash", "money", _cash),
    ("duplicates", "strategy", _duplicates),
    ("permissions", "strategy", _permissions),
    ("data_quality", "data", _data_quality),
    ("router", "limits", _router),
)
CATEGORY = {name: category for name, category, _ in GATES}


# With nothing to guard against, the gates that only read the guards cannot refuse: a backtest need not ask them for
# every order.
_NO_GUARDS = Guards()
_GUARD_GATES = frozenset({"armed", "mode", "control", "lease", "risk_state", "breakers", "data_quality"})
_GATES_WITHOUT_GUARDS = tuple(entry for entry in GATES if entry[0] not in _GUARD_GATES)


def refusal_by_gates(order: Order, book: Book) -> Refusal | None:
    """Return the refusal of the first gate that blocks ``order``, or None when it may be placed."""
    reduces = order.symbol in book.symbols and book.is_reduction(order)
    for name, category, gate in book.gates:
        detail = gate(order, book, reduces)
        if detail is not None:
            return Refusal(name, category, order.symbol, order.leg, detail)
    return None


# The wording of refusals that the compiled kernel reports by number: both paths must say the same.
NO_NEW_RISK_DETAIL = "new risk is not permitted"


def not_traded_detail(symbol: str, book: Book) -> str:
    return "its market does not trade" if symbol in book.suspended else "the symbol is not part of this run"


def quantity_zero_detail(instrument: Instrument, rules: Rules) -> str:
    return f"the quantity rounds down to zero lots of {instrument.quantity_text(rules.lot)} {instrument.base}"


def quantity_minimum_detail(instrument: Instrument, rules: Rules, quantity: int) -> str:
    minimum = instrument.quantity_text(rules.quantity_minimum)
    return f"quantity {instrument.quantity_text(quantity)} is below the minimum {minimum}"


def quantity_maximum_detail(instrument: Instrument, rules: Rules, quantity: int) -> str:
    maximum = instrument.quantity_text(rules.quantity_maximum)
    return f"quantity {instrument.quantity_text(quantity)} is above the maximum {maximum}"


def notional_minimum_detail(instrument: Instrument, rules: Rules, value: int) -> str:
    return f"value {instrument.money_text(value)} is below the minimum {instrument.money_text(rules.notional_minimum)}"


def order_cap_detail(instrument: Instrument, value: int, limit: int) -> str:
    return f"order value {instrument.money_text(value)} exceeds the cap {instrument.money_text(limit)}"


def symbol_cap_detail(instrument: Instrument, value: int, limit: int) -> str:
    return f"position value {instrument.money_text(value)} would exceed the cap {instrument.money_text(limit)}"


def leverage_detail(instrument: Instrument, gross: int, equity: int, leverage_max: float) -> str:
    own = instrument.money_text(equity)
    return f"gross value {instrument.money_text(gross)} would exceed {leverage_max!r} times the equity {own}"


def cash_detail(instrument: Instrument, cost: int, available: int) -> str:
    return f"cost {instrument.money_text(cost)} exceeds the free cash {instrument.money_text(available)}"


def short_detail(instrument: Instrument) -> str:
    return f"the order would go short in {instrument.symbol}, which is not permitted"
