"""The simulated exchange: open orders against one bar at a time, pessimistic inside the bar.

Within a bar: at the open, in order of placement, market orders, limits that take, and stops the open has jumped over;
then, assuming that what hurts happens first, reducing stops, then entries (stops, limits), then stops of positions just
entered, then take-profits and reducing limits of positions that were there before. Children of an order (``parent``)
wait for its fill and never trade more than it has filled. Decisions are not made here, and prices and costs come from
``core/fills.py``.

Between two bars everything can be written down (``to_json``) and taken up again over later bars (``restore``): that is
how paper trading survives its processes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Any, Protocol

from trading_runtime.backtest.market import Booleans, fast_reads
from trading_runtime.backtest.trace import Ended, Entry, Fill
from trading_runtime.core.bars import Floats
from trading_runtime.core.errors import AmountError
from trading_runtime.core.fills import (
    Execution,
    is_marketable,
    limit_is_reached,
    market_price,
    marketable_limit_price,
    profit_is_reached,
    stop_is_beyond_open,
    stop_is_reached,
    volume_limit,
)
from trading_runtime.core.instruments import Instrument, Rules
from trading_runtime.core.intents import LEG_LENGTH_MAX
from trading_runtime.core.money import AMOUNT_MAX, affordable_quantity, fee_amount, quote_value
from trading_runtime.core.orders import client_order_id
from trading_runtime.core.state import Order, OrderEnded, OrderFilled, OrderPlaced, State, apply

_NEVER = 2**62


class MatchedMarket(Protocol):
    """What matching asks of a market: a backtest's whole ``Market``, or the few bars paper trading goes on with. Rows
    of every array are bars of the clock, shape (n,).
    """

    @property
    def symbols(self) -> tuple[str, ...]: ...

    @property
    def instruments(self) -> Mapping[str, Instrument]: ...

    @property
    def execution(self) -> Execution: ...

    @property
    def start_ms(self) -> int: ...

    @property
    def bar_ms(self) -> int: ...

    @property
    def open(self) -> tuple[Floats, ...]: ...

    @property
    def high(self) -> tuple[Floats, ...]: ...

    @property
    def low(self) -> tuple[Floats, ...]: ...

    @property
    def volume(self) -> tuple[Floats, ...]: ...

    @property
    def tradable(self) -> tuple[Booleans, ...]: ...

    def rules_at(self, symbol_index: int, bar: int) -> Rules: ...


class Working:
    """An order at the simulated exchange.

    ``rests`` once it has seen a bar in which somebody traded; ``triggered`` once a stop or take-profit has become a
    market order; ``inside_bar`` and ``inside_price`` say where its newest fill inside a bar happened, for its children.
    """

    __slots__ = (
        "active_bar", "done", "filled", "filled_before", "inside_bar", "inside_price", "last_bar", "order", "parent",
        "placed_quantity", "rests", "symbol_index", "triggered",
    )  # fmt: skip

    def __init__(self, order: Order, symbol_index: int, active_bar: int, parent: Working | None = None) -> None:
        self.order = order
        self.symbol_index = symbol_index
        self.parent = parent
        self.filled = 0
        # A market order that a limit fell back to goes on where the limit ended: for its children they are one order.
        self.filled_before = 0
        self.placed_quantity = order.quantity
        self.rests = False
        self.triggered = False
        self.done = False
        self.inside_bar = -1
        self.inside_price = 0.0
        self.activate(active_bar)

    def activate(self, bar: int) -> None:
        self.active_bar = bar
        self.last_bar = _NEVER if self.order.bars_max is None else bar + self.order.bars_max - 1

    @property
    def quantity(self) -> int:
        """What may be filled in all: of a child the same share that its parent has filled."""
        parent = self.parent
        if parent is None:
            return self.order.quantity
        filled = parent.filled_before + parent.filled
        if filled >= parent.placed_quantity:
            return self.order.quantity
        return self.order.quantity * filled // parent.placed_quantity

    @property
    def follows_open_parent(self) -> bool:
        return self.parent is not None and not self.parent.done

    @property
    def waits(self) -> bool:
        """Whether it waits for the fill of its parent."""
        return self.active_bar == _NEVER

    def to_json(self, open_time: int, bar_ms: int) -> dict[str, Any]:
        """Return plain data between two bars. ``open_time`` is that of bar 0: what is kept is the time from which the
        order is active, None while it waits; where in a bar it filled matters within that bar only.
        """
        return {
            "order": self.order.to_json(),
            "active_ms": None if self.waits else open_time + self.active_bar * bar_ms,
            "filled": self.filled,
            "filled_before": self.filled_before,
            "placed_quantity": self.placed_quantity,
            "rests": self.rests,
            "triggered": self.triggered,
            "done": self.done,
            "parent": None if self.parent is None else self.parent.order.order_id,
        }


class Matching:
    """Open orders and the account they change. ``entries`` collects what happened, ``successors`` the market order that
    took the place of a limit order, by the limit's id; ``state`` is replaced by every event.
    """

    def __init__(self, market: MatchedMarket, state: State, entries: list[Entry], account: str, strategy: str) -> None:
        self.state = state
        self.working: list[Working] = []
        self.successors: dict[str, Order] = {}
        self.has_news = False
        self._market = market
        self._entries = entries
        self._account = account
        self._strategy = strategy
        self._order_ids: set[str] = set()
        self._index = {symbol: index for index, symbol in enumerate(market.symbols)}
        self._instruments = [market.instruments[symbol] for symbol in market.symbols]
        self._contracts = [one.symbol for one in self._instruments if one.kind != "spot"]
        self._value_per_unit = [instrument.value_per_unit for instrument in self._instruments]
        self._adverse = market.execution.adverse_fraction
        self._volume_left: dict[int, int] = {}
        self._opening: list[Working] | None = None
        self._open, self._high, self._low = (
            tuple(fast_reads(column) for column in columns) for columns in (market.open, market.high, market.low)
        )
        self._tradable = tuple(fast_reads(column) for column in market.tradable)
        # While every order rests, the prices between which nothing can happen, per symbol, and the last bar that holds
        # for.
        self._quiet: list[tuple[int, float, float]] | None = None
        self._quiet_last_bar = -1

    def place(self, orders: tuple[Order, ...], bar: int) -> None:
        """Send orders decided at the close of ``bar``; those with a parent wait for its fill."""
        active = bar + 1 + self._market.execution.latency_bars
        parents = {working.order.order_id: working for working in self.working}
        for order in orders:
            parent = None if order.parent is None else parents.get(order.parent)
            working = Working(order, self._index[order.symbol], active if parent is None else _NEVER, parent)
            parents[order.order_id] = working
            self._add(working)

    def place_for(self, parent: Working, order: Order, bar: int) -> None:
        """Send an order at the close of ``bar`` after its parent, which may have ended since: it waits, or acts at once
        on its share of what the parent has filled by now.
        """
        has_filled = parent.filled_before + parent.filled > 0
        active = bar + 1 + self._market.execution.latency_bars if has_filled else _NEVER
        self._add(Working(order, self._index[order.symbol], active, parent))

    def to_json(self) -> list[dict[str, Any]]:
        """Return the open orders, in the order in which they were placed, as plain data that ``restore`` takes up
        again; ended parents of open orders are among them, ``done``. To be called between two bars.
        """
        written: dict[str, Working] = {}
        for working in self.working:
            parent = working.parent
            if parent is not None and parent.done:
                written[parent.order.order_id] = parent
            written[working.order.order_id] = working
        start_ms, bar_ms = self._market.start_ms, self._market.bar_ms
        return [working.to_json(start_ms, bar_ms) for working in written.values()]

    def restore(self, content: Sequence[Mapping[str, Any]], order_ids: Collection[str]) -> None:
        """Take up what ``to_json`` wrote: these orders, and no others, are open again. ``order_ids`` are all that were
        ever placed and that a fallback's id must not repeat.
        """
        start_ms, bar_ms = self._market.start_ms, self._market.bar_ms
        found: dict[str, Working] = {}
        for item in content:
            order = order_from_json(item["order"])
            active = _NEVER if item["active_ms"] is None else (item["active_ms"] - start_ms) // bar_ms
            working = Working(order, self._index[order.symbol], active)
            working.filled = item["filled"]
            working.filled_before = item["filled_before"]
            working.placed_quantity = item["placed_quantity"]
            working.rests, working.triggered, working.done = item["rests"], item["triggered"], item["done"]
            found[order.order_id] = working
        for item in content:
            if item["parent"] is not None:
                # The parent of a parent that has ended is not kept: nothing asks for it any more.
                found[item["order"]["order_id"]].parent = found.get(item["parent"])
        self.working = [working for working in found.values() if not working.done]
        self._order_ids = {*order_ids, *found}
        self._quiet = None
        state = self.state
        orders = {one.order.order_id: one.order.after_fill(one.filled) for one in self.working}
        self.state = State(state.cash, state.flows, state.positions, orders, state.slot, state.strategy_state)

    def rest(self, orders: Iterable[Order], bar: int) -> None:
        """Take up orders that rest already, as a state carries them; they act from ``bar`` on."""
        start_ms, bar_ms = self._market.start_ms, self._market.bar_ms
        for order in orders:
            working = Working(order.changed(filled=0), self._index[order.symbol], (order.slot - start_ms) // bar_ms)
            working.active_bar = max(working.active_bar, bar)  # its last bar counts from when it was placed
            working.filled = order.filled
            working.rests = order.kind != "market"
            self.working.append(working)
            self._order_ids.add(order.order_id)

    def cancel(self, order_id: str, reason: str, bar: int) -> None:
        """End an open order at the close of ``bar``."""
        for working in self.working:
            if working.order.order_id == order_id:
                self._end(working, bar, "cancelled", reason)
                return

    def match(self, bar: int) -> None:
        """Match every active order against ``bar``."""
        if self._quiet is not None and bar <= self._quiet_last_bar and self._is_quiet(bar):
            return
        self._quiet = None
        self._volume_left.clear()
        opening = self._opening = list(self.working)
        for working in opening:  # grows by market orders that limits fall back to
            if self._is_active(working, bar):
                self._at_open(working, bar)
        self._opening = None
        if self.working:
            self._inside(bar)
            self._expire(bar)
            self._find_quiet()

    def _is_active(self, working: Working, bar: int) -> bool:
        return working.active_bar <= bar and not working.done and self._tradable[working.symbol_index][bar]

    def _add(self, working: Working) -> None:
        self.working.append(working)
        self._quiet = None
        self._order_ids.add(working.order.order_id)
        self.state = apply(self.state, OrderPlaced(working.order))

    def _remove(self, working: Working) -> None:
        working.done = True
        self.working.remove(working)
        self._quiet = None

    def _at_open(self, working: Working, bar: int) -> None:
        order, price = working.order, working.order.price or 0.0
        opening = self._open[working.symbol_index][bar]
        if order.kind == "market" or working.triggered:
            self._take(working, bar, opening)
        elif order.kind == "limit":
            if not working.rests and is_marketable(opening, price, order.side):
                self._take_limit(working, bar, opening, price)
            elif order.time_in_force != "gtc":
                self._end(working, bar, "expired", "not_filled_at_once")
        elif order.kind == "stop":
            if stop_is_beyond_open(opening, price, order.side):
                self._trigger(working, bar, opening)
        elif not working.rests and profit_is_reached(opening, opening, price, order.side):
            self._trigger(working, bar, opening)

    def _take_limit(self, working: Working, bar: int, opening: float, limit: float) -> None:
        if working.order.post_only:
            self._fall_back_or_end(working, bar, bar, "rejected", "post_only")
            return
        rules = self._market.rules_at(working.symbol_index, bar)
        price = marketable_limit_price(opening, limit, working.order.side, self._adverse, rules)
        self._fill(working, bar, price, opening, is_maker=False)

    def _inside(self, bar: int) -> None:
        self._inside_phase(bar, [working for working in self.working if _is_reducing_stop(working)])
        before = [working for working in self.working if working.active_bar <= bar]
        self._inside_phase(bar, [working for working in before if not working.order.reduce_only])
        self._inside_phase(bar, [working for working in self.working if _is_reducing_stop(working)])
        self._inside_phase(bar, [one for one in before if one.order.reduce_only and one.order.kind != "stop"])

    def _inside_phase(self, bar: int, participants: list[Working]) -> None:
        for working in participants:
            if not self._is_active(working, bar) or working.triggered:
                continue
            order, price = working.order, working.order.price or 0.0
            low, high = self._low[working.symbol_index][bar], self._high[working.symbol_index][bar]
            if order.kind == "limit":
                if limit_is_reached(low, high, price, order.side, self._market.execution.limit_fill):
                    self._fill(working, bar, price, price, is_maker=True)
            elif order.kind == "stop":
                if stop_is_reached(low, high, price, order.side):
                    self._trigger(working, bar, _seen_price(working, price, bar))
            elif order.kind == "take_profit" and profit_is_reached(low, high, price, order.side):
                self._trigger(working, bar, price)

    def _trigger(self, working: Working, bar: int, reference: float) -> None:
        working.triggered = True
        self._take(working, bar, reference)

    def _take(self, working: Working, bar: int, reference: float) -> None:
        rules = self._market.rules_at(working.symbol_index, bar)
        price = market_price(reference, working.order.side, self._adverse, rules)
        self._fill(working, bar, price, reference, is_maker=False)

    def _fill(self, working: Working, bar: int, price: float, reference: float, *, is_maker: bool) -> None:
        order, symbol = working.order, working.symbol_index
        per_unit = self._value_per_unit[symbol]
        rules = self._market.rules_at(symbol, bar)
        rate = rules.maker_fee_rate if is_maker else rules.taker_fee_rate
        wanted, short_of = self._wanted(working, price, rate, rules.lot)
        quantity = min(wanted, self._volume_limit(symbol, bar, rules.lot))
        if order.time_in_force == "fok" and quantity < order.quantity:
            self._end(working, bar, "expired", short_of or "not_filled_at_once")
            return
        if quantity > 0:
            value = quote_value(price, quantity, per_unit)
            fee = fee_amount(value, rate)
            slippage = 0 if price == reference else abs(value - quote_value(reference, quantity, per_unit))
            filled = OrderFilled(order.order_id, order.symbol, order.side, quantity, price, value, fee)
            self.state = apply(self.state, filled)
            if not -AMOUNT_MAX < self.state.cash < AMOUNT_MAX:
                raise AmountError("cash left the range of amounts")
            self._entries.append(Fill(bar, symbol, order, quantity, price, value, fee, slippage, is_maker))
            working.filled += quantity
            self.has_news = True
            if self._opening is None:
                working.inside_bar, working.inside_price = bar, price
            if symbol in self._volume_left:
                self._volume_left[symbol] -= quantity
        if working.filled == order.quantity:
            self._remove(working)
        elif short_of and quantity == wanted:
            self._end(working, bar, "cancelled", short_of)
        elif order.time_in_force == "ioc":
            self._end(working, bar, "expired", "not_filled_at_once")
        elif working.parent is not None:
            self._finish_child(working, rules.lot)
        if quantity > 0 and self.working:
            self._after_fill(working, bar)

    def _after_fill(self, working: Working, bar: int) -> None:
        """Children of the filled order become active; a position that is gone takes its reducing orders with it."""
        symbol = working.order.symbol
        for child in self.working:
            if child.parent is working and child.active_bar == _NEVER:
                child.activate(bar)
        if self.state.quantity(symbol) != 0:
            return
        parent = working.parent
        if parent is not None and not parent.done and working.order.reduce_only:
            self._end(parent, bar, "cancelled", "closed_by_child")  # what was left by is not entered again
        for other in [one for one in self.working if one.order.reduce_only and one.order.symbol == symbol]:
            if not other.done and not other.follows_open_parent:
                self._end(other, bar, "cancelled", "no_position")

    def _wanted(self, working: Working, price: float, fee_rate: float, lot: int) -> tuple[int, str]:
        """Return what of the order the account can trade, and what it is short of if that is not all of the rest."""
        order = working.order
        wanted = working.quantity - working.filled
        if working.parent is not None:
            wanted = wanted // lot * lot
        held = self.state.quantity(order.symbol)
        if order.reduce_only:
            reducible = abs(held) if held * order.side < 0 else 0
            if reducible < wanted:
                return reducible, "" if working.follows_open_parent else "no_position"
        if self._instruments[working.symbol_index].kind == "spot":
            if order.side < 0 and held < wanted:
                return max(held, 0), "insufficient_position"
            if order.side > 0:
                money, per_unit = self.free_cash(), self._value_per_unit[working.symbol_index]
                value = quote_value(price, wanted, per_unit)
                if value + fee_amount(value, fee_rate) > money:
                    return affordable_quantity(max(money, 0), price, fee_rate, per_unit, lot), "insufficient_cash"
        return wanted, ""

    def free_cash(self) -> int:
        """Cash that spot can be bought with: trading contracts moves none, so what it moved in the ledger is put
        back.
        """
        cash = self.state.cash
        for symbol in self._contracts:
            position = self.state.positions.get(symbol)
            if position is not None:
                cash += position.cost
        return cash

    def _volume_limit(self, symbol: int, bar: int, lot: int) -> int:
        fraction = self._market.execution.volume_fraction_max
        if fraction is None:
            return AMOUNT_MAX
        if symbol not in self._volume_left:
            unit = float(self._instruments[symbol].quantity_unit)
            self._volume_left[symbol] = volume_limit(float(self._market.volume[symbol][bar]), fraction, unit, lot)
        return self._volume_left[symbol]

    def _expire(self, bar: int) -> None:
        for working in [working for working in self.working if working.active_bar <= bar]:
            if self._tradable[working.symbol_index][bar]:
                working.rests = True
            if bar >= working.last_bar and not working.done:
                self._fall_back_or_end(working, bar, bar + 1, "expired", "timeout")

    def _fall_back_or_end(self, working: Working, bar: int, active_bar: int, status: str, reason: str) -> None:
        """End a limit order; with its intent's permission for that reason its rest becomes a market order, children
        included.
        """
        order = working.order
        if reason not in order.fallback or order.kind != "limit":
            self._end(working, bar, status, reason)
            return
        fallback = Working(self._as_market(working), working.symbol_index, active_bar)
        for child in self.working:
            if child.parent is working:
                child.parent = fallback
        fallback.placed_quantity = working.placed_quantity
        fallback.filled_before = working.filled_before + working.filled
        self.successors[order.order_id] = fallback.order
        self._end(working, bar, status, reason)
        self._add(fallback)
        if self._opening is not None:
            self._opening.append(fallback)
            self._opening.extend(child for child in self.working if child.parent is fallback)

    def _as_market(self, working: Working) -> Order:
        """The market order that a limit order's rest turns into, under an id that no other order has."""
        order = working.order
        number = 1
        while True:
            suffix = "_m" if number == 1 else f"_m{number}"
            leg = order.leg[: LEG_LENGTH_MAX - len(suffix)] + suffix
            order_id = client_order_id(self._account, self._strategy, order.symbol, order.slot, leg)
            if order_id not in self._order_ids:
                break
            number += 1
        return Order(
            order_id,
            order.symbol,
            "market",
            order.side,
            order.quantity - working.filled,
            slot=order.slot,
            leg=leg,
            reduce_only=order.reduce_only,
            reason=order.reason,
        )

    def _end(self, working: Working, bar: int, status: str, reason: str) -> None:
        self._remove(working)
        self.has_news = True
        order_id = working.order.order_id
        self.state = apply(self.state, OrderEnded(order_id, status, reason))
        self._entries.append(Ended(bar, order_id, status, reason))
        for child in [one for one in self.working if one.parent is working]:
            if working.filled == 0:
                self._end(child, bar, "cancelled", "parent_ended")
            else:
                self._finish_child(child, self._market.rules_at(child.symbol_index, bar).lot)

    def _finish_child(self, child: Working, lot: int) -> None:
        """A child is done when it has traded all that its parent ever filled, though it was placed for more."""
        if not child.follows_open_parent and child.quantity - child.filled < lot and not child.done:
            self._remove(child)
            self.state = apply(self.state, OrderEnded(child.order.order_id, "filled", "parent_filled_less"))

    def _is_quiet(self, bar: int) -> bool:
        for symbol, below, above in self._quiet or ():
            if self._low[symbol][bar] <= below or self._high[symbol][bar] >= above:
                return False
        return True

    def _find_quiet(self) -> None:
        """Find between which prices no open order can act, if all that are active rest."""
        bounds: dict[int, tuple[float, float]] = {}
        last_bar = _NEVER
        for working in self.working:
            order = working.order
            if working.active_bar == _NEVER:
                continue  # waits for a parent, which is among the others
            if not working.rests or working.triggered or order.kind == "market" or order.time_in_force != "gtc":
                return
            last_bar = min(last_bar, working.last_bar - 1)
            below, above = bounds.get(working.symbol_index, (-inf, inf))
            price = order.price or 0.0
            acts_below = (order.side > 0) != (order.kind == "stop")
            bounds[working.symbol_index] = (max(below, price), above) if acts_below else (below, min(above, price))
        self._quiet = [(symbol, below, above) for symbol, (below, above) in bounds.items()]
        self._quiet_last_bar = last_bar


def order_from_json(content: Mapping[str, Any]) -> Order:
    """Return the order that ``Order.to_json`` wrote."""
    return Order(**{**content, "fallback": tuple(content.get("fallback", ()))})


def _is_reducing_stop(working: Working) -> bool:
    return working.order.kind == "stop" and working.order.reduce_only


def _seen_price(working: Working, trigger: float, bar: int) -> float:
    """The trigger, or what its parent was filled at inside this very bar if that is worse: no better price was seen
    since.
    """
    parent = working.parent
    if parent is None or parent.inside_bar != bar:
        return trigger
    return max(trigger, parent.inside_price) if working.order.side > 0 else min(trigger, parent.inside_price)
