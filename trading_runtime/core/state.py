"""The state of one strategy's account, and ``apply``: the only way it changes, for real and simulated fills alike.

    state = apply(state, event)

``apply`` returns a new state and never changes the old one. It does no arithmetic of its own: events carry amounts that
were rounded once, where they arose. Replaying the events of a journal from the first state rebuilds every later one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.ledger import Position

SCHEMA_VERSION = 1


class Order:
    """An intent that passed the gates: normalised to the market's filters, under its client order id.

    side is +1 or -1; quantities are units; ``price`` is the limit or the trigger. ``slot`` is the close time of the bar
    it was decided at.
    """

    __slots__ = (
        "bars_max", "fallback", "filled", "is_sized_by_runtime", "kind", "leg", "order_id", "parent", "post_only",
        "price", "quantity", "reason", "reduce_only", "side", "slot", "symbol", "time_in_force",
    )  # fmt: skip

    def __init__(
        self,
        order_id: str,
        symbol: str,
        kind: str,
        side: int,
        quantity: int,
        *,
        slot: int,
        leg: str,
        price: float | None = None,
        reduce_only: bool = False,
        parent: str | None = None,
        time_in_force: str = "gtc",
        bars_max: int | None = None,
        post_only: bool = False,
        fallback: tuple[str, ...] = (),
        is_sized_by_runtime: bool = False,
        reason: str = "",
        filled: int = 0,
    ) -> None:
        self.order_id = order_id
        self.symbol = symbol
        self.kind = kind
        self.side = side
        self.quantity = quantity
        self.slot = slot
        self.leg = leg
        self.price = price
        self.reduce_only = reduce_only
        self.parent = parent
        self.time_in_force = time_in_force
        self.bars_max = bars_max
        self.post_only = post_only
        self.fallback = fallback
        self.is_sized_by_runtime = is_sized_by_runtime
        self.reason = reason
        self.filled = filled

    @property
    def remaining(self) -> int:
        return self.quantity - self.filled

    def after_fill(self, quantity: int) -> Order:
        """Return the order with ``quantity`` more units filled."""
        return self.changed(filled=self.filled + quantity)

    def changed(self, **values: Any) -> Order:
        """Return the order with other values of some of its fields."""
        return Order(**{**{name: getattr(self, name) for name in self.__slots__}, **values})

    def to_json(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults."""
        content: dict[str, Any] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if value is None or value is False or value == () or (name == "time_in_force" and value == "gtc"):
                continue
            content[name] = list(value) if isinstance(value, tuple) else value
        return content


class OrderPlaced:
    """The exchange (or its simulation) has the order."""

    __slots__ = ("order",)

    def __init__(self, order: Order) -> None:
        self.order = order


class OrderFilled:
    """Part or all of an order was executed: units, quote units; ``fee`` is signed, a rebate is negative."""

    __slots__ = ("fee", "order_id", "price", "quantity", "side", "symbol", "value")

    def __init__(
        self, order_id: str, symbol: str, side: int, quantity: int, price: float, value: int, fee: int
    ) -> None:
        self.order_id = order_id
        self.symbol = symbol
        self.side = side
        self.quantity = quantity
        self.price = price
        self.value = value
        self.fee = fee


class OrderEnded:
    """An order left the book unfilled or partly filled: cancelled, expired or rejected, and why."""

    __slots__ = ("order_id", "reason", "status")

    def __init__(self, order_id: str, status: str, reason: str) -> None:
        self.order_id = order_id
        self.status = status
        self.reason = reason


class FundingPaid:
    """A perpetual position paid (positive) or received (negative) funding, in quote units."""

    __slots__ = ("amount", "symbol")

    def __init__(self, symbol: str, amount: int) -> None:
        self.symbol = symbol
        self.amount = amount


class CashMoved:
    """Money came in or went out that is no trading result: a deposit, a withdrawal, interest."""

    __slots__ = ("amount", "reason")

    def __init__(self, amount: int, reason: str) -> None:
        self.amount = amount
        self.reason = reason


class BaseFeePaid:
    """A fill's fee was taken from the coins themselves: ``quantity`` units, worth ``value`` quote units at the fill's
    price. Booked as coins sold for ``value`` that the fee took at once: cash does not change, fees grow by ``value``.
    """

    __slots__ = ("quantity", "symbol", "value")

    def __init__(self, symbol: str, quantity: int, value: int) -> None:
        self.symbol = symbol
        self.quantity = quantity
        self.value = value


class CoinsSpent:
    """Coins of a position paid the fee of another one's fill: ``quantity`` units, worth ``value`` quote units then.
    Booked as coins sold for ``value``: cash grows by what the fee, which is part of that fill, takes from it.
    """

    __slots__ = ("quantity", "symbol", "value")

    def __init__(self, symbol: str, quantity: int, value: int) -> None:
        self.symbol = symbol
        self.quantity = quantity
        self.value = value


class SlotDecided:
    """A decision was made for the bar that closed at ``slot``; ``strategy_state`` is what the strategy carries on."""

    __slots__ = ("slot", "strategy_state")

    def __init__(self, slot: int, strategy_state: Mapping[str, Any]) -> None:
        self.slot = slot
        self.strategy_state = strategy_state


Event = OrderPlaced | OrderFilled | OrderEnded | FundingPaid | CashMoved | BaseFeePaid | CoinsSpent | SlotDecided


class State:
    """Cash (quote units), positions and open orders by symbol and id, the strategy's own state, the last decided
    slot.
    """

    __slots__ = ("cash", "flows", "orders", "positions", "slot", "strategy_state")

    def __init__(
        self,
        cash: int,
        flows: int = 0,
        positions: dict[str, Position] | None = None,
        orders: dict[str, Order] | None = None,
        slot: int | None = None,
        strategy_state: Mapping[str, Any] | None = None,
    ) -> None:
        self.cash = cash
        self.flows = flows
        self.positions = positions if positions is not None else {}
        self.orders = orders if orders is not None else {}
        self.slot = slot
        self.strategy_state: Mapping[str, Any] = strategy_state if strategy_state is not None else {}

    def quantity(self, symbol: str) -> int:
        """The signed quantity held, in units."""
        position = self.positions.get(symbol)
        return position.quantity if position is not None else 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data that ``state_from_json`` turns back into an equal state."""
        return {
            "schema_version": SCHEMA_VERSION,
            "cash": self.cash,
            "flows": self.flows,
            "positions": [position.to_json() for position in self.positions.values()],
            "orders": [order.to_json() for order in self.orders.values()],
            "slot": self.slot,
            "strategy_state": dict(self.strategy_state),
        }


def state_from_json(content: Any) -> State:
    """Return the state that ``State.to_json`` wrote; raises StrategyError for a schema this version does not know, or a
    document that is damaged.
    """
    if not isinstance(content, Mapping):
        raise StrategyError(f"the state document is damaged: it is a {type(content).__name__}, not a mapping")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise StrategyError(
            f"state has schema version {content.get('schema_version')!r}; this version reads {SCHEMA_VERSION}"
        )
    try:
        orders = [Order(**{**order, "fallback": tuple(order.get("fallback", ()))}) for order in content["orders"]]
        positions = [Position(**position) for position in content["positions"]]
        state = State(
            content["cash"],
            flows=content["flows"],
            positions={position.symbol: position for position in positions},
            orders={order.order_id: order for order in orders},
            slot=content["slot"],
            strategy_state=content["strategy_state"],
        )
    except KeyError as error:
        raise StrategyError(f"the state document is damaged: it has no {error}") from error
    except (TypeError, AttributeError) as error:
        raise StrategyError(f"the state document is damaged: {error}") from error
    _check_amounts(state)
    if len(state.positions) != len(positions) or len(state.orders) != len(orders):
        raise StrategyError("the state document is damaged: it has a position or an order twice")
    return state


def _check_amounts(state: State) -> None:
    """Raise StrategyError where a document that was read holds no whole number, or no mapping, where there must be
    one.
    """
    amounts: dict[str, Any] = {"cash": state.cash, "flows": state.flows}
    for position in state.positions.values():
        content = position.to_json()
        amounts |= {f"{position.symbol}.{name}": content[name] for name in content if name != "symbol"}
    for order in state.orders.values():
        for name in ("side", "quantity", "filled", "slot"):
            amounts[f"{order.order_id}.{name}"] = getattr(order, name)
    if state.slot is not None:
        amounts["slot"] = state.slot
    for name, value in amounts.items():
        if type(value) is not int:
            raise StrategyError(f"the state document is damaged: {name} is {value!r}, not a whole number")
    if not isinstance(state.strategy_state, Mapping):
        raise StrategyError(f"the state document is damaged: strategy_state is {state.strategy_state!r}")


def apply(state: State, event: Event) -> State:
    """Return the state after ``event``; raises StrategyError for an event that contradicts it.

    A fill whose order is no longer open still changes cash and position: an exchange may report it late.
    """
    cash, flows, positions, orders = state.cash, state.flows, state.positions, state.orders
    slot, strategy_state = state.slot, state.strategy_state
    if isinstance(event, OrderFilled):
        symbol = event.symbol
        if event.quantity <= 0:
            raise StrategyError(f"a fill of order {event.order_id} has the quantity {event.quantity!r}")
        order = orders.get(event.order_id)
        if order is not None and (order.side != event.side or order.symbol != symbol):
            raise StrategyError(f"a fill of order {event.order_id} is on another side or symbol than the order")
        position = positions.get(symbol) or Position(symbol)
        positions = {**positions, symbol: position.filled(event.side, event.quantity, event.value, event.fee)}
        cash -= event.side * event.value + event.fee
        if order is not None:
            orders = orders.copy()
            if event.quantity >= order.remaining:
                del orders[event.order_id]
            else:
                orders[event.order_id] = order.after_fill(event.quantity)
    elif isinstance(event, OrderPlaced):
        if event.order.order_id in orders:
            raise StrategyError(f"order {event.order.order_id} is already open")
        orders = {**orders, event.order.order_id: event.order}
    elif isinstance(event, OrderEnded):
        orders = {order_id: order for order_id, order in orders.items() if order_id != event.order_id}
    elif isinstance(event, SlotDecided):
        slot, strategy_state = event.slot, event.strategy_state
    elif isinstance(event, FundingPaid):
        position = positions.get(event.symbol) or Position(event.symbol)
        positions = {**positions, event.symbol: position.funded(event.amount)}
        cash -= event.amount
    elif isinstance(event, CashMoved):
        cash += event.amount
        flows += event.amount
    elif isinstance(event, BaseFeePaid):
        position = positions.get(event.symbol) or Position(event.symbol)
        positions = {**positions, event.symbol: position.filled(-1, event.quantity, event.value, event.value)}
    elif isinstance(event, CoinsSpent):
        position = positions.get(event.symbol) or Position(event.symbol)
        positions = {**positions, event.symbol: position.filled(-1, event.quantity, event.value, 0)}
        cash += event.value
    else:
        raise StrategyError(f"{type(event).__name__} is no event of an account")
    return State(cash, flows, positions, orders, slot, strategy_state)
