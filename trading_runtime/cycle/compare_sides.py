"""The two sides of a comparison: what a session's events and a backtest's trace say was filled and paid.

And what the backtest needs that a journal does not have as such: instruments with the rules of each time, the rates of
the funding that was paid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from trading_runtime.backtest.market import FundingRate, Market
from trading_runtime.backtest.trace import Fill, Funded, Trace
from trading_runtime.core.bars import Bars
from trading_runtime.core.instruments import Instrument, Rules, instrument_from_json
from trading_runtime.core.money import quote_value
from trading_runtime.core.orders import parse_client_order_id
from trading_runtime.core.state import State
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.compare_classes import Side
from trading_runtime.cycle.recorded import DecisionRecorded
from trading_runtime.cycle.replay import StateChain


class LiveSide(NamedTuple):
    """What a session filled and paid; the state its events lead to; the rates that its funding payments come to, by
    symbol; and what could not be told.
    """

    side: Side
    state: State
    rates: dict[str, list[FundingRate]]
    fills: int
    notes: list[str]


def live_side(
    start: State,
    events: Iterable[Mapping[str, Any]],
    bars: Mapping[str, Bars],
    instruments: Mapping[str, Instrument],
    *,
    bar_ms: int,
    is_paper: bool,
) -> LiveSide:
    """Return the session's side from ``start`` on. Raises StrategyError, KeyError or TypeError for events that do not
    follow from it.
    """
    side, chain, fills, notes = Side(), StateChain(start), 0, []
    rates: dict[str, list[FundingRate]] = {}
    filled_by: dict[tuple[str, str], str] = {}
    for event in events:
        kind = event["event"]
        if kind == "order_filled":
            parts = parse_client_order_id(event["order_id"])
            order = side.order(event["order_id"], event["symbol"], 0 if parts is None else parts.slot, event["side"])
            order.fill(event["quantity"], event["value"], event["fee"], bar_of(event["time_ms"], bar_ms, is_paper))
            filled_by[event["symbol"], event["trade_id"]] = event["order_id"]
            fills += 1
        elif kind == "base_fee_paid":
            order = side.orders[filled_by[event["symbol"], event["trade_id"]]]
            order.coins += event["quantity"]
            order.coins_value += event["value"]
        elif kind == "coins_spent":
            spent = side.order(f"fee of trade {event['trade_id']}", event["symbol"], 0, -1)
            spent.fill(event["quantity"], event["value"], 0, bar_of(event["time_ms"], bar_ms, is_paper))
        elif kind == "funding_paid":
            symbol, amount, time_ms = event["symbol"], event["amount"], event["time_ms"]
            side.funding[symbol] = side.funding.get(symbol, 0) + amount
            quantity = chain.state.quantity(symbol)
            price = close_at(bars[symbol], -(-time_ms // bar_ms) * bar_ms) if symbol in bars else 0.0
            value = quote_value(price, quantity, instruments[symbol].value_per_unit)
            if value:
                rates.setdefault(symbol, []).append(FundingRate(time_ms, amount / value))
            else:
                notes.append(f"{symbol}: funding of {iso_time(time_ms)} was paid on a position the book did not have")
        chain.book(event)
    return LiveSide(side, chain.state, rates, fills, notes)


def backtest_side(trace: Trace, market: Market) -> Side:
    """Return the backtest's side."""
    side = Side()
    for entry in trace.entries:
        if isinstance(entry, Fill):
            order = side.order(entry.order.order_id, entry.order.symbol, entry.order.slot, entry.order.side)
            order.fill(entry.quantity, entry.value, entry.fee, market.start_ms + entry.bar * market.bar_ms)
        elif isinstance(entry, Funded):
            symbol = market.symbols[entry.symbol_index]
            side.funding[symbol] = side.funding.get(symbol, 0) + entry.amount
    return side


def bar_of(time_ms: int, bar_ms: int, is_paper: bool) -> int:
    """Return when the bar opened in which a fill happened. Paper fills are stamped with their bar's close, real ones
    with their own time: one at the very slot lies in the bar that opens there.
    """
    return (time_ms - (1 if is_paper else 0)) // bar_ms * bar_ms


def close_at(series: Bars, close_ms: int) -> float:
    """Return the close of the bar that closes at a time; of the first or last one for a time beyond them."""
    index = (close_ms - int(series.open_time[0])) // series.bar_ms - 1
    return float(series.close[min(max(index, 0), len(series) - 1)])


def recorded_instruments(decisions: Sequence[DecisionRecorded]) -> dict[str, Instrument]:
    """Return the instruments as the decisions saw them: rules that changed on the way hold from the slot on at which
    they were first seen.
    """
    found: dict[str, Instrument] = {}
    contents: dict[str, Any] = {}
    for decision in decisions:
        for symbol, content in decision.seen["instruments"].items():
            if contents.get(symbol) == content or symbol in decision.seen.get("suspended", ()):
                continue  # of a market that does not trade only the units are known
            contents[symbol] = content
            instrument, known = instrument_from_json(content), found.get(symbol)
            if known is None:
                rules: tuple[Rules, ...] = (replace(instrument.rules[0], valid_from=0), *instrument.rules[1:])
            else:
                earlier = tuple(one for one in known.rules if one.valid_from < decision.slot)
                later = tuple(one for one in instrument.rules if one.valid_from > decision.slot)
                rules = (*earlier, replace(instrument.rules_at(decision.slot), valid_from=decision.slot), *later)
            found[symbol] = replace(instrument, rules=rules)
    return found
