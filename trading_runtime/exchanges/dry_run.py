"""The exchange of a dry run: nothing is ever sent, and later steps of the same cycle see what orders would have done.

A market order fills at once at the last closed price, worsened as in a backtest, with the taker fee; a limit that would
take does too, but never beyond its price; everything else rests in this process's memory. Of the real account it knows
only what it was given. Where the real exchange could have filled less or elsewhere, this is a guess: it has no depth,
and no time passes in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.fills import Execution, is_marketable, market_price, marketable_limit_price
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.money import fee_amount, quote_value
from trading_runtime.core.state import Order
from trading_runtime.exchanges.dry_run_savings import DryRunSavings
from trading_runtime.exchanges.port import (
    Balance,
    Capabilities,
    CashFlow,
    EarnOperation,
    EarnProduct,
    Fee,
    Feed,
    FundingPayment,
    Interval,
    NotPlaced,
    OrderReport,
    Savings,
    Status,
    Trade,
    bars_over,
)

CAPABILITIES = Capabilities(
    validity_window_ms=5_000,
    all_open_orders=True,
    kinds=frozenset({"limit", "stop", "take_profit"}),
    reduce_only=True,
    keeps_brackets=False,
)
_NONE = Decimal(0)


class DryRunExchange:
    """An ``Exchange`` over a feed and the values of an account at the start of one cycle.

    ``balances``, ``positions``, ``orders`` (open ones, or whatever the cycle may ask for) and ``trades`` are what the
    real exchange said, or made up; ``quote_prices`` are by asset, in quote money. Trading a perpetual moves only its
    fee in the balances: what it realises is not known without the price of its entry.

    With ``products`` (by asset) it has savings, in which ``earn`` is; ``operations`` and ``flows`` are what the real
    exchange told of them. ``lookup`` returns the instrument of a symbol that is asked for and not among
    ``instruments``, or raises ConfigurationError.
    """

    def __init__(
        self,
        feed: Feed,
        instruments: Mapping[str, Instrument],
        execution: Execution,
        *,
        timeframe: str,
        balances: Mapping[str, Balance],
        positions: Mapping[str, Decimal] | None = None,
        orders: Sequence[OrderReport] = (),
        trades: Sequence[Trade] = (),
        quote_prices: Mapping[str, float] | None = None,
        capabilities: Capabilities = CAPABILITIES,
        earn: Mapping[str, Decimal] | None = None,
        products: Mapping[str, EarnProduct] | None = None,
        operations: Sequence[EarnOperation] = (),
        flows: Sequence[CashFlow] = (),
        lookup: Callable[[str], Instrument] | None = None,
    ) -> None:
        self._feed = feed
        self._instruments = dict(instruments)
        self._execution = execution
        self._timeframe = timeframe
        self._total = {asset: balance.total for asset, balance in balances.items()}
        self._free = {asset: balance.free for asset, balance in balances.items()}
        self._positions = dict(positions or {})
        self._reports = {report.client_order_id or report.exchange_order_id: report for report in orders}
        self._trades = list(trades)
        self._quote_prices = dict(quote_prices or {})
        self._locks = {report.client_order_id: lock for report in orders if (lock := self._locked_by(report))}
        self._capabilities = capabilities
        self._lookup = lookup
        self._newest_ms = 0
        self._savings: DryRunSavings | None = None
        if products is not None:
            self._savings = DryRunSavings(
                products,
                earn or {},
                operations,
                flows,
                free=lambda asset: self._free.get(asset, _NONE),
                move=self._move,
                now_ms=self.server_time_ms,
                window_ms=capabilities.validity_window_ms,
            )

    # The feed.
    @property
    def name(self) -> str:
        return f"dry run on {self._feed.name}"

    def server_time_ms(self) -> int:
        return self._feed.server_time_ms()

    def newest_close(self, timeframe: str, after: int | None) -> int | None:
        return self._feed.newest_close(timeframe, after)

    def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
        return self.bars_over(symbol, timeframe, count, close_ms, ())

    def bars_over(self, symbol: str, timeframe: str, count: int, close_ms: int, still: Sequence[Interval]) -> Bars:
        """Return bars as ``port.StillFeed`` says."""
        if timeframe == self._timeframe:
            self._newest_ms = max(self._newest_ms, close_ms)
        return bars_over(self._feed, symbol, timeframe, count, close_ms, still)

    # The account.
    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def savings(self) -> Savings | None:
        """Savings in this process's memory, None unless products were given."""
        return self._savings

    def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        for symbol in symbols:
            if symbol not in self._instruments:
                if self._lookup is None:
                    raise ConfigurationError(f"the dry run has no {symbol}; it has {', '.join(self._instruments)}")
                self._instruments[symbol] = self._lookup(symbol)
        return {symbol: self._instruments[symbol] for symbol in symbols}

    def balances(self) -> Mapping[str, Balance]:
        return {asset: Balance(self._free.get(asset, _NONE), total) for asset, total in self._total.items() if total}

    def positions(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        return {symbol: quantity for symbol, quantity in self._positions.items() if quantity and symbol in symbols}

    def open_orders(self, symbols: Sequence[str]) -> list[OrderReport]:
        return [report for report in self._reports.values() if report.status == "open"]

    def order(self, order: Order) -> OrderReport | None:
        return self._reports.get(order.order_id)

    def place(self, order: Order, stamp_ms: int) -> OrderReport:
        """Fill the order at once, or let it rest; raises NotPlaced as an exchange would, and when it has no price."""
        if order.order_id in self._reports:
            raise NotPlaced("duplicate", f"order {order.order_id} is known already")
        if order.symbol not in self._instruments:
            raise NotPlaced("rejected", f"order {order.order_id}: the dry run has no {order.symbol}")
        if order.kind == "market":
            return self._taken(order, self._last_close(order))
        if order.price is None or order.price <= 0.0:
            raise NotPlaced("filters", f"order {order.order_id}: a {order.kind} order needs a positive price")
        if order.kind == "limit" and is_marketable(self._last_close(order), order.price, order.side):
            if order.post_only:
                raise NotPlaced("post_only", f"order {order.order_id} would take at {self._last_close(order)!r}")
            return self._taken(order, self._last_close(order))
        if order.time_in_force != "gtc":
            return self._reported(order, 0, "expired", "not_filled_at_once")
        self._lock(order)
        return self._reported(order, 0, "open")

    def cancel(self, order: Order, stamp_ms: int) -> None:
        report = self._reports.get(order.order_id)
        if report is not None and report.status == "open":
            self._reports[order.order_id] = report._replace(status="cancelled", reason="cancelled")
            asset, amount = self._locks.pop(order.order_id, ("", _NONE))
            if amount:
                self._free[asset] += amount

    def trades(self, report: OrderReport) -> list[Trade]:
        return [trade for trade in self._trades if trade.client_order_id == report.client_order_id]

    def trades_since(self, symbol: str, since_ms: int) -> list[Trade]:
        found = [trade for trade in self._trades if trade.symbol == symbol and trade.time_ms >= since_ms]
        return sorted(found, key=lambda trade: (trade.time_ms, trade.sequence))

    def funding_since(self, symbol: str, since_ms: int) -> list[FundingPayment]:
        """Return nothing: what fell due before this cycle is not among the values it was given."""
        return []

    def quote_price(self, asset: str, quote: str) -> float | None:
        if asset == quote:
            return 1.0
        if asset in self._quote_prices:
            return self._quote_prices[asset]
        try:
            return float(self._feed.bars(f"{asset}/{quote}", self._timeframe, 1, self._newest_ms).close[-1])
        except (DataError, ConfigurationError):
            return None

    def _last_close(self, order: Order) -> float:
        try:
            return float(self._feed.bars(order.symbol, self._timeframe, 1, order.slot).close[-1])
        except DataError as error:
            raise NotPlaced("rejected", f"order {order.order_id} has no price to fill at: {error}") from error

    def _taken(self, order: Order, reference: float) -> OrderReport:
        """Fill an order that takes, as far as the account allows."""
        instrument = self._instruments[order.symbol]
        rules = instrument.rules_at(order.slot)
        adverse = self._execution.adverse_fraction
        if order.kind == "limit" and order.price is not None:
            price = marketable_limit_price(reference, order.price, order.side, adverse, rules)
        else:
            price = market_price(reference, order.side, adverse, rules)
        units = order.quantity
        if order.reduce_only:
            units = min(units, self._reducible(order, instrument))
            if units <= 0:
                raise NotPlaced("rejected", f"order {order.order_id}: there is no position to reduce")
        value_units = quote_value(price, units, instrument.value_per_unit)
        fee = fee_amount(value_units, rules.taker_fee_rate) * instrument.quote_unit
        value, quantity = value_units * instrument.quote_unit, units * instrument.quantity_unit
        if instrument.kind == "spot":
            given, amount = (instrument.quote, value + fee) if order.side > 0 else (instrument.base, quantity)
            if amount > self._free.get(given, _NONE):
                raise NotPlaced("funds", f"order {order.order_id} needs {amount} {given}, more than is free")
            self._move(instrument.base, order.side * quantity)
            self._move(instrument.quote, -order.side * value - fee)
        else:
            self._positions[order.symbol] = self._positions.get(order.symbol, _NONE) + order.side * quantity
            self._move(instrument.quote, -fee)
        sequence = len(self._trades) + 1
        self._trades.append(
            Trade(
                trade_id=f"dry-{sequence}",
                sequence=sequence,
                client_order_id=order.order_id,
                exchange_order_id=order.order_id,
                symbol=order.symbol,
                side=order.side,
                quantity=quantity,
                price=price,
                value=value,
                fees=(Fee(instrument.quote, fee),),
                time_ms=order.slot,
                is_maker=False,
            )
        )
        if units < order.quantity:
            return self._reported(order, units, "cancelled", "no_position")
        return self._reported(order, units, "filled")

    def _reducible(self, order: Order, instrument: Instrument) -> int:
        """Units that an order which may only reduce can trade at most."""
        if instrument.kind == "spot":
            held = self._total.get(instrument.base, _NONE)
        else:
            held = self._positions.get(order.symbol, _NONE)
        return instrument.quantity_units(abs(held)) if held * order.side < 0 else 0

    def _locked_by(self, report: OrderReport) -> tuple[str, Decimal] | None:
        """What an order that was open at the start locks of spot: its cancel frees that."""
        instrument = self._instruments.get(report.symbol)
        if instrument is None or instrument.kind != "spot" or report.status != "open":
            return None
        rest = report.quantity - report.filled
        if report.side < 0:
            return instrument.base, rest
        return (instrument.quote, rest * Decimal(repr(report.price))) if report.price is not None else None

    def _lock(self, order: Order) -> None:
        """Take from what is free what a resting order of spot needs; raises NotPlaced when there is not enough."""
        instrument = self._instruments[order.symbol]
        if instrument.kind != "spot" or order.parent is not None:
            return
        if order.side < 0:
            asset, amount = instrument.base, order.quantity * instrument.quantity_unit
        else:
            value = quote_value(order.price or 0.0, order.quantity, instrument.value_per_unit)
            fee = fee_amount(value, instrument.rules_at(order.slot).taker_fee_rate)
            asset, amount = instrument.quote, (value + max(fee, 0)) * instrument.quote_unit
        if amount > self._free.get(asset, _NONE):
            raise NotPlaced("funds", f"order {order.order_id} needs {amount} {asset}, more than is free")
        self._locks[order.order_id] = asset, amount
        self._free[asset] -= amount

    def _move(self, asset: str, amount: Decimal) -> None:
        self._total[asset] = self._total.get(asset, _NONE) + amount
        self._free[asset] = self._free.get(asset, _NONE) + amount

    def _reported(self, order: Order, filled: int, status: Status, reason: str = "") -> OrderReport:
        unit = self._instruments[order.symbol].quantity_unit
        report = OrderReport(
            client_order_id=order.order_id,
            exchange_order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            kind=order.kind,
            quantity=order.quantity * unit,
            filled=filled * unit,
            price=order.price,
            status=status,
            reduce_only=order.reduce_only,
            time_ms=order.slot,
            reason=reason,
        )
        self._reports[order.order_id] = report
        return report
