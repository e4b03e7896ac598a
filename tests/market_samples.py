"""Shared pieces of the tests of core and engine: instruments, bars, small markets, scripted strategies, balances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from trading_runtime.backtest.engine import Account, run_general
from trading_runtime.backtest.market import FundingRate, Market
from trading_runtime.backtest.trace import Decided, Ended, Fill, Funded, Trace
from trading_runtime.core.bars import Bars
from trading_runtime.core.fills import Execution
from trading_runtime.core.gates import Book, Caps, Guards
from trading_runtime.core.instruments import Instrument, Rules, make_rules, split_symbol
from trading_runtime.core.money import quote_value
from trading_runtime.core.state import State
from trading_runtime.core.strategy import Inputs, Permissions, Proposal, Strategy
from trading_runtime.core.timeframes import TIMEFRAME_MS

START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z, a Monday: on the grid of every timeframe but 3d
HOUR_MS = TIMEFRAME_MS["1h"]
UNIT = Decimal("0.00000001")
COIN = 10**8  # quantity units of one coin
MONEY = 10**8  # quote units of one dollar
BTC, ETH, SOL = "BTC/USDT", "ETH/USDT", "SOL/USDT"
PERP = "BTC/USDT:USDT"

Candle = tuple[float, ...]  # open, high, low, close and, unless it is 1000, volume


def make_instrument(
    symbol: str = BTC,
    *,
    unit: str = "0.00000001",
    quote_unit: str = "0.00000001",
    later: Sequence[dict[str, Any]] = (),
    **rules: Any,
) -> Instrument:
    """An instrument with tick 0.01, lot 0.001 and no fees unless told otherwise; ``later`` are further dated rules."""
    base, quote, kind = split_symbol(symbol)
    units = {"quantity_unit": Decimal(unit), "quote_unit": Decimal(quote_unit)}
    first = {"tick": "0.01", "lot": "0.001", **rules}
    versions = tuple(make_rules(**units, **{**first, **changed}) for changed in ({}, *later))
    return Instrument(symbol, kind, base, quote, Decimal(unit), Decimal(quote_unit), versions)


def make_bars(candles: Sequence[Candle], *, symbol: str = BTC, timeframe: str = "1h", start_ms: int = START_MS) -> Bars:
    """Bars from (open, high, low, close) or (open, high, low, close, volume)."""
    rows = [(*candle, 1000.0) if len(candle) == 4 else candle for candle in candles]
    columns = [np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)]
    times = start_ms + TIMEFRAME_MS[timeframe] * np.arange(len(rows), dtype=np.int64)
    return Bars(symbol, timeframe, times, *columns)


def random_bars(
    seed: int,
    rows: int,
    *,
    symbol: str = BTC,
    timeframe: str = "1h",
    start_ms: int = START_MS,
    price: float = 100.0,
    gaps: float = 0.2,
    zero_volume: float = 0.1,
) -> Bars:
    """Valid bars on the tick 0.01: a walk whose bars sometimes open away from the last close or trade nothing."""
    random = np.random.default_rng(seed)
    candles = []
    close = price
    for _ in range(rows):
        opening = close
        if random.random() < gaps:
            opening = close * float(np.exp(0.03 * random.standard_normal()))
        opening = max(round(opening, 2), 0.05)
        close = max(round(opening * float(np.exp(0.02 * random.standard_normal())), 2), 0.05)
        high = round(max(opening, close) * (1.0 + 0.01 * random.random()), 2)
        low = max(round(min(opening, close) * (1.0 - 0.01 * random.random()), 2), 0.01)
        volume = 0.0 if random.random() < zero_volume else round(50.0 * random.random() + 0.01, 3)
        candles.append((opening, max(high, opening, close), min(low, opening, close), close, volume))
    if all(candle[4] == 0.0 for candle in candles):
        candles[-1] = (*candles[-1][:4], 1.0)
    return make_bars(candles, symbol=symbol, timeframe=timeframe, start_ms=start_ms)


def make_market(
    *bars: Bars,
    instruments: Sequence[Instrument] = (),
    funding: Mapping[str, Sequence[FundingRate]] | None = None,
    execution: Mapping[str, Any] | None = None,
    **rules: Any,
) -> Market:
    """A market of these bars; symbols without an instrument of their own get ``make_instrument`` with ``rules``."""
    named = {instrument.symbol: instrument for instrument in instruments}
    return Market(
        {series.symbol: series for series in bars},
        {series.symbol: named.get(series.symbol) or make_instrument(series.symbol, **rules) for series in bars},
        Execution(**(execution or {})),
        funding or {},
    )


Plan = Mapping[int, Any]


def scripted(plan: Plan | Callable[[Inputs], Any], name: str = "Scripted") -> Strategy:
    """A strategy that proposes what ``plan`` holds for the bar, or what it says: intents, a Proposal or None."""

    def decide(self: Strategy, inputs: Inputs) -> Any:
        wanted = plan(inputs) if callable(plan) else plan.get(inputs.index)
        return Proposal(wanted) if isinstance(wanted, (list, tuple)) else wanted

    return type(name, (Strategy,), {"decide": decide})()


def make_account(cash: float = 1_000_000.0, *, short: bool = True, new_risk: bool = True, **caps: Any) -> Account:
    """An account in dollars; leverage is bounded at 100 unless told otherwise."""
    return Account(
        round(cash * MONEY),
        Caps(**{"leverage_max": 100.0, **caps}),
        Permissions(short=short, new_risk=new_risk),
        "test",
    )


def run(market: Market, plan: Plan | Callable[[Inputs], Any] | Strategy, account: Account | None = None) -> Trace:
    """The trace of a strategy, or of a plan for ``scripted``."""
    strategy = plan if isinstance(plan, Strategy) else scripted(plan)
    return run_general(market, strategy, account or make_account())


def make_book(
    state: State,
    *instruments: Instrument,
    marks: Mapping[str, float] | None = None,
    permissions: Permissions | None = None,
    caps: Caps | None = None,
    guards: Guards | None = None,
) -> Book:
    """The account as the gates see it, every symbol at 100 unless ``marks`` say otherwise."""
    known = instruments or (make_instrument(),)
    return Book(
        state,
        {instrument.symbol: instrument for instrument in known},
        {instrument.symbol: instrument.rules[-1] for instrument in known},
        {instrument.symbol: 100.0 for instrument in known} if marks is None else marks,
        permissions or Permissions(),
        caps or Caps(),
        guards or Guards(),
    )


def make_rule(**rules: Any) -> Rules:
    """The rules of ``make_instrument``."""
    return make_instrument(**rules).rules[0]


def happenings(trace: Trace) -> list[tuple[Any, ...]]:
    """Fills as (bar, leg, signed coins, price) and ends as (bar, leg, status, reason), in the order they happened."""
    legs = {order.order_id: order.leg for entry in trace.decisions() for order in entry.orders}
    lines: list[tuple[Any, ...]] = []
    for entry in trace.entries:
        if isinstance(entry, Fill):
            lines.append((entry.bar, entry.order.leg, entry.order.side * entry.quantity / COIN, entry.price))
        elif isinstance(entry, Ended):
            lines.append(
                (
                    entry.bar,
                    legs.get(entry.order_id, entry.order_id.rsplit("-", 1)[-1]),
                    entry.status,
                    entry.reason,
                )
            )
    return lines


def refusals(trace: Trace) -> list[tuple[int, str, str]]:
    """(bar, gate, leg) of every refusal."""
    return [(entry.bar, refusal.gate, refusal.leg) for entry in trace.decisions() for refusal in entry.refusals]


def comparable(trace: Trace) -> list[Any]:
    """The whole trace as plain data: equal exactly when two runs did the same."""
    lines: list[Any] = [trace.first_bar, trace.strategy_state]
    for entry in trace.entries:
        if isinstance(entry, Fill):
            lines.append(("fill", *entry[:2], entry.order.to_json(), *entry[3:]))
        elif isinstance(entry, Decided):
            lines.append(
                (
                    "decided",
                    entry.bar,
                    entry.slot,
                    [intent.to_json() for intent in entry.intents],
                    [order.to_json() for order in entry.orders],
                    [refusal.to_json() for refusal in entry.refusals],
                    entry.reasons,
                )
            )
        else:
            lines.append((type(entry).__name__, *entry))
    return lines


class Balance:
    """An account rebuilt from a trace alone, in integers, by sums that share nothing with the ledger."""

    def __init__(self, market: Market, start_cash: int) -> None:
        self.market = market
        self.cash = start_cash
        self.quantity = [0] * len(market.symbols)
        self.spent = [0] * len(market.symbols)
        self.fees = [0] * len(market.symbols)
        self.funding = [0] * len(market.symbols)

    def book(self, entry: Fill | Funded) -> None:
        if isinstance(entry, Fill):
            self.quantity[entry.symbol_index] += entry.order.side * entry.quantity
            self.spent[entry.symbol_index] += entry.order.side * entry.value
            self.fees[entry.symbol_index] += entry.fee
            self.cash -= entry.order.side * entry.value + entry.fee
        else:
            self.funding[entry.symbol_index] += entry.amount
            self.cash -= entry.amount

    def value(self, bar: int) -> int:
        """Value of everything held at the marks of ``bar``."""
        market = self.market
        return sum(
            quote_value(float(market.mark[index][bar]), quantity, market.instruments[symbol].value_per_unit)
            for index, (symbol, quantity) in enumerate(zip(market.symbols, self.quantity, strict=True))
            if quantity
        )
