"""The simulated exchange: open orders against one bar at a time, pessimistic inside the bar.

Within a bar: at the open, in order of placement, market orders, limits that take, and stops the open has jumped over;
then, assuming that what hurts happens first, reducing stops, then entries (stops, limits), then stops of positions just
entered, then take-profits and reducing limits of positions that were there before. Decisions are not made here, and
prices and costs come from ``core/fills.py``.
"""

from __future__ import annotations

from trading_runtime.backtest.market import Market, fast_reads
from trading_runtime.backtest.trace import Ended, Entry, Fill
from trading_runtime.core.errors import AmountError
from trading_runtime.core.fills import (
    is_marketable,
    limit_is_reached,
    market_price,
    marketable_limit_price,
    profit_is_reached,
    stop_is_beyond_open,
    stop_is_reached,
    volume_limit,
)
from trading_runtime.core.intents import LEG_LENGTH_MAX
from trading_runtime.core.money import AMOUNT_MAX, affordable_quantity, fee_amount, quote_value
from trading_runtime.core.orders import client_order_id
from trading_runtime.core.state import Order, OrderEnded, OrderFilled, OrderPlaced, State, apply

_FALLBACK_SUFFIX = "_m"


class Working:
    """An order at the simulated exchange. ``rests`` once it has seen a bar; ``triggered`` once a stop or take-profit
    has become a market order.
    """

    __slots__ = ("active_bar", "filled", "last_bar", "order", "rests", "symbol_index", "triggered")

    def __init__(self, order: Order, symbol_index: int, active_bar: int) -> None:
        self.order = order
        self.symbol_index = symbol_index
        self.active_bar = active_bar
        self.last_bar = None if order.bars_max is None else active_bar + order.bars_max - 1
        self.filled = 0
        self.rests = False
        self.triggered = False


class Matching:
    """Open orders and the account they change. ``entries`` collects what happened; ``state`` is replaced by every
    event.
    """

    def __init__(self, market: Market, state: State, entries: list[Entry], account: str, strategy: str) -> None:
        self.state = state
        self.working: list[Working] = []
        self.has_news = False
        self._market = market
        self._entries = entries
        self._account = account
        self._strategy = strategy
        self._waiting: dict[str, list[Order]] = {}
        self._index = {symbol: index for index, symbol in enumerate(market.symbols)}
        self._instruments = [market.instruments[symbol] for symbol in market.symbols]
        self._value_per_unit = [instrument.value_per_unit for instrument in self._instruments]
        self._adverse = market.execution.adverse_fraction
        self._volume_left: dict[int, int] = {}
        self._opening: list[Working] | None = None
        self._open, self._high, self._low = (
            tuple(fast_reads(column) for column in columns) for columns in (market.open, market.high, market.low)
        )
        self._tradable = tuple(fast_reads(column) for column in market.tradable)

    def place(self, orders: tuple[Order, ...], bar: int) -> None:
        """Send orders decided at the close of ``bar``; those with a parent wait for its fill."""
        active = bar + 1 + self._market.execution.latency_bars
        for order in orders:
            if order.parent is not None:
                self._waiting.setdefault(order.parent, []).append(order)
            else:
                self._activate(order, active)

    def cancel(self, order_id: str, reason: str, bar: int) -> None:
        """End an open order at the close of ``bar``."""
        for working in self.working:
            if working.order.order_id == order_id:
                self._end(working, bar, "cancelled", reason)
                return

    def match(self, bar: int) -> None:
        """Match every active order against ``bar``."""
        self._volume_left.clear()
        opening = self._opening = list(self.working)
        for working in opening:  # grows: the children of an order that fills at the open meet the same open
            if self._is_active(working, bar):
                self._at_open(working, bar)
        self._opening = None
        if self.working:
            self._inside(bar)
            self._expire(bar)

    def _is_active(self, working: Working, bar: int) -> bool:
        return working.active_bar <= bar and self._tradable[working.symbol_index][bar] and working in self.working

    def _activate(self, order: Order, active_bar: int) -> Working:
        working = Working(order, self._index[order.symbol], active_bar)
        self.working.append(working)
        if self._opening is not None:
            self._opening.append(working)
        self.state = apply(self.state, OrderPlaced(order))
        return working

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
            self._end(working, bar, "rejected", "post_only")
            if "post_only" in working.order.fallback:
                self._activate(self._as_market(working), bar)
            return
        rules = self._market.rules_at(working.symbol_index, bar)
        price = marketable_limit_price(opening, limit, working.order.side, self._adverse, rules)
        self._fill(working, bar, price, opening, is_maker=False)

    def _inside(self, bar: int) -> None:
        self._inside_phase(bar, [working for working in self.working if _is_reducing_stop(working)])
        held_before = list(self.working)
        self._inside_phase(bar, [working for working in held_before if not working.order.reduce_only])
        self._inside_phase(bar, [working for working in self.working if _is_reducing_stop(working)])
        self._inside_phase(
            bar, [working for working in held_before if working.order.reduce_only and working.order.kind != "stop"]
        )

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
                    self._trigger(working, bar, price)
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
            if symbol in self._volume_left:
                self._volume_left[symbol] -= quantity
        if working.filled == order.quantity:
            self.working.remove(working)
        elif short_of and quantity == wanted:
            self._end(working, bar, "cancelled", short_of)
        elif order.time_in_force == "ioc":
            self._end(working, bar, "expired", "not_filled_at_once")
        if quantity > 0:
            for child in self._waiting.pop(order.order_id, []):
                self._activate(child, bar)
            self._end_when_flat(order.symbol, bar)

    def _wanted(self, working: Working, price: float, fee_rate: float, lot: int) -> tuple[int, str]:
        """Return what of the order the account can trade, and what it is short of if that is not all of the rest."""
        order = working.order
        wanted = order.quantity - working.filled
        held = self.state.quantity(order.symbol)
        if order.reduce_only:
            reducible = abs(held) if held * order.side < 0 else 0
            if reducible < wanted:
                return reducible, "no_position"
        if self._instruments[working.symbol_index].kind == "spot":
            if order.side < 0 and held < wanted:
                return held, "insufficient_position"
            if order.side > 0:
                money = max(self.state.cash, 0)
                per_unit = self._value_per_unit[working.symbol_index]
                # The full search is only needed when a rough bound says that money may not suffice.
                if price * (wanted * per_unit) * (1.0 + max(fee_rate, 0.0)) >= 0.999999 * money:
                    affordable = affordable_quantity(money, price, fee_rate, per_unit, lot)
                    if affordable < wanted:
                        return affordable, "insufficient_cash"
        return wanted, ""

    def _end_when_flat(self, symbol: str, bar: int) -> None:
        """Reducing orders end when nothing is left to reduce, as exchanges do with reduce-only orders."""
        if self.state.quantity(symbol) == 0:
            for other in [working for working in self.working if working.order.reduce_only]:
                if other.order.symbol == symbol:
                    self._end(other, bar, "cancelled", "no_position")

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
            working.rests = True
            if working.last_bar is not None and bar >= working.last_bar:
                self._end(working, bar, "expired", "timeout")
                if "timeout" in working.order.fallback and working.order.kind == "limit":
                    self._activate(self._as_market(working), bar + 1)

    def _as_market(self, working: Working) -> Order:
        """The market order that an intent's fallback permission turns its limit order's rest into, under an id of its
        own.
        """
        order = working.order
        leg = order.leg[: LEG_LENGTH_MAX - len(_FALLBACK_SUFFIX)] + _FALLBACK_SUFFIX
        return Order(
            client_order_id(self._account, self._strategy, order.symbol, order.slot, leg),
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
        self.working.remove(working)
        self.has_news = True
        order_id = working.order.order_id
        self.state = apply(self.state, OrderEnded(order_id, status, reason))
        self._entries.append(Ended(bar, order_id, status, reason))
        if working.filled == 0:
            for child in self._waiting.pop(order_id, []):
                self._entries.append(Ended(bar, child.order_id, "cancelled", "parent_ended"))


def _is_reducing_stop(working: Working) -> bool:
    return working.order.kind == "stop" and working.order.reduce_only
