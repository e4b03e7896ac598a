"""Booking: what the exchange says about orders becomes events of the book. Fills are booked once, by trade id.

Fees are taken in whatever asset the exchange chose:

    quote         part of the fill
    base          coins sold at the fill's price whose proceeds the fee took at once (BaseFeePaid)
    other (BNB)   part of the fill at its present worth. Where the book holds as much of it (the treasury's fuel), that
                  position pays: coins sold at that worth (CoinsSpent); else the same amount comes in as a flow: it was
                  paid from outside

Nothing here asks an exchange anything but the worth of a fee's asset.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal

from trading_runtime.core.errors import ExchangeUnavailable
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.state import BaseFeePaid, CashMoved, CoinsSpent, FundingPaid, OrderFilled, OrderPlaced
from trading_runtime.cycle.account import Account, OrderRecord
from trading_runtime.exchanges.port import Exchange, Fee, OrderReport, Trade


class Booker:
    """Books what one exchange reports into one account."""

    def __init__(self, exchange: Exchange, instruments: Mapping[str, Instrument]) -> None:
        self._exchange = exchange
        self._instruments = instruments
        self.warnings: list[str] = []

    def see(self, account: Account, record: OrderRecord, report: OrderReport) -> None:
        """The exchange has the order: it is open in the book from now on."""
        record.exchange_order_id = report.exchange_order_id or record.exchange_order_id
        record.filled = max(record.filled, self._units(report.symbol, report.filled))
        if record.phase != "open":
            record.phase = "open"
            if record.order.order_id not in account.state.orders:
                account.book(OrderPlaced(record.order), exchange_order_id=record.exchange_order_id)

    def book_trades(self, account: Account, trades: Iterable[Trade], owners: Mapping[str, OrderRecord]) -> int:
        """Book the fills that are not booked yet, in the order they happened; ``owners`` are the records by exchange
        order id. Returns how many were new.
        """
        count = 0
        for trade in sorted(trades, key=lambda one: (one.time_ms, one.sequence)):
            record = owners[trade.exchange_order_id]
            if trade.trade_id in record.trades:
                continue
            record.trades.append(trade.trade_id)
            self._book_trade(account, record, trade)
            count += 1
        return count

    def finished(self, account: Account, record: OrderRecord, report: OrderReport) -> bool:
        """Take the record out when the order has ended at the exchange and all its fills are booked."""
        if report.status == "open" or not record.is_booked:
            return False
        account.finish(record, report.status, report.reason or report.status)
        return True

    def fund(self, account: Account, symbol: str, since_ms: int) -> int:
        """Book the funding payments of a perpetual since then; returns how many were new."""
        count = 0
        seen = account.funding_seen.setdefault(symbol, [])
        instrument = self._instruments[symbol]
        for payment in sorted(self._exchange.funding_since(symbol, since_ms), key=lambda one: one.time_ms):
            if payment.payment_id in seen:
                continue
            seen.append(payment.payment_id)
            del seen[:-64]  # payments are asked for from the newest one on: more than a handful never overlap
            amount = instrument.money_units(payment.amount)
            account.book(FundingPaid(symbol, amount), payment_id=payment.payment_id, time_ms=payment.time_ms)
            account.funding_since[symbol] = max(account.funding_since.get(symbol, 0), payment.time_ms)
            count += 1
        return count

    def _units(self, symbol: str, quantity: Decimal) -> int:
        return self._instruments[symbol].quantity_units(quantity)

    def _book_trade(self, account: Account, record: OrderRecord, trade: Trade) -> None:
        instrument = self._instruments[trade.symbol]
        quantity = instrument.quantity_units(trade.quantity)
        if quantity <= 0:
            self.warnings.append(f"{trade.symbol}: trade {trade.trade_id} of {trade.quantity} is below one unit")
            return
        fee, base_units, outside = 0, 0, 0
        from_fuel: list[CoinsSpent] = []
        for one in trade.fees:
            if one.asset == instrument.quote:
                fee += _rounded_up(one.amount / instrument.quote_unit)
            elif one.asset == instrument.base and instrument.kind == "spot":
                base_units += _rounded_up(one.amount / instrument.quantity_unit)
            else:
                paid = self._from_fuel(account, one, instrument)
                if paid is not None:
                    from_fuel.append(paid)
                    fee += paid.value
                else:
                    outside += self._worth(one, instrument)
        facts = {
            "trade_id": trade.trade_id,
            "time_ms": trade.time_ms,
            "is_maker": trade.is_maker,
            "fees": [[one.asset, str(one.amount)] for one in trade.fees],
        }
        value = instrument.money_units(trade.value)
        filled = OrderFilled(
            record.order.order_id, trade.symbol, trade.side, quantity, trade.price, value, fee + outside
        )
        account.book(filled, **facts)
        record.booked += quantity
        if base_units < 0:
            self.warnings.append(f"{trade.symbol}: a rebate of {-base_units} units in coins is not booked")
        elif base_units:
            worth = instrument.money_units(Decimal(repr(trade.price)) * base_units * instrument.quantity_unit)
            account.book(BaseFeePaid(trade.symbol, base_units, worth), trade_id=trade.trade_id)
        if outside:
            account.book(CashMoved(outside, "fee paid in another asset"), trade_id=trade.trade_id)
        for paid in from_fuel:
            account.book(paid, trade_id=trade.trade_id, time_ms=trade.time_ms)

    def _from_fuel(self, account: Account, fee: Fee, instrument: Instrument) -> CoinsSpent | None:
        """A fee in a coin that the book itself holds is paid from that position, when it is there in whole. None where
        it is not, for a rebate, and where nobody knows what the coin is worth.
        """
        fuel = next(
            (
                one
                for one in self._instruments.values()
                if (one.kind, one.base, one.quote) == ("spot", fee.asset, instrument.quote)
            ),
            None,
        )
        if fuel is None or fee.amount <= 0:
            return None
        units = _rounded_up(fee.amount / fuel.quantity_unit)
        if account.state.quantity(fuel.symbol) < units:
            return None
        return CoinsSpent(fuel.symbol, units, self._worth(fee, fuel))

    def _worth(self, fee: Fee, instrument: Instrument) -> int:
        """Quote units a fee in a third asset is worth now; 0 with a warning when nobody can tell."""
        try:
            price = self._exchange.quote_price(fee.asset, instrument.quote)
        except ExchangeUnavailable:
            price = None
        if price is None or not math.isfinite(price):
            self.warnings.append(f"a fee of {fee.amount} {fee.asset} could not be valued in {instrument.quote}")
            return 0
        return _rounded_up(fee.amount * Decimal(repr(price)) / instrument.quote_unit)


def _rounded_up(value: Decimal) -> int:
    """A fee is rounded away from the account, as in ``core/money.py``."""
    return int(value.to_integral_value(ROUND_CEILING))
