"""The compiled path's outside: markets and targets into arrays, the kernel's tape back into a trace, and batches of
parameter sets.

The trace is built from the same classes and the same words as the general path's, so that everything after it is
shared. Where the kernel gives up (an amount beyond int64) the general path takes over. Threads may share one
``CompiledMarket``: kernels hold no GIL and write only into arrays of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trading_runtime.backtest import kernel
from trading_runtime.backtest.engine import Account, first_decision_bar, run_general
from trading_runtime.backtest.market import Market
from trading_runtime.backtest.targets import TargetChanges, TargetFinder
from trading_runtime.backtest.trace import Decided, Ended, Entry, Fill, Funded, Trace
from trading_runtime.core import gates
from trading_runtime.core.bars import Floats, Integers
from trading_runtime.core.errors import StrategyError
from trading_runtime.core.evaluate import ColumnCache, Columns
from trading_runtime.core.gates import CATEGORY
from trading_runtime.core.instruments import Instrument, Rules
from trading_runtime.core.intents import Intent, target
from trading_runtime.core.orders import client_order_id
from trading_runtime.core.refusals import Refusal
from trading_runtime.core.state import Order
from trading_runtime.core.strategy import Strategy

TAPE_ROWS_MIN = 4096
_STATE_KEY = "targets"


class CompiledMarket:
    """A market as the kernel reads it: made once, shared by every run over it."""

    def __init__(self, market: Market) -> None:
        self.market = market
        instruments = [market.instruments[symbol] for symbol in market.symbols]
        self.mark = _rows(market.mark)
        opening = np.where(np.stack(market.tradable), np.stack(market.open), np.nan)
        self.quotes = np.ascontiguousarray(np.stack((opening, self.mark), axis=2))
        self.volume = _rows(market.volume)
        self.block_high, self.block_low = _blocks(self.mark, np.maximum), _blocks(self.mark, np.minimum)
        self.versions: list[Rules] = [rules for rows in market.rules for _, rules in rows]
        starts = [start for rows in market.rules for start, _ in rows]
        self.rules = np.array(
            [
                (
                    *(start, rules.tick_numerator, rules.tick_denominator, rules.lot),
                    *(rules.quantity_minimum, rules.quantity_maximum, rules.notional_minimum),
                )
                for start, rules in zip(starts, self.versions, strict=True)
            ],
            dtype=np.int64,
        )
        self.rules_first = np.cumsum([0, *(len(rows) for rows in market.rules)], dtype=np.int64)
        self.fee_rates = np.array([[rules.maker_fee_rate, rules.taker_fee_rate] for rules in self.versions])
        self.per_unit = np.array([instrument.value_per_unit for instrument in instruments])
        self.is_spot = np.array([instrument.kind == "spot" for instrument in instruments])
        self.quantity_unit = np.array([float(instrument.quantity_unit) for instrument in instruments])
        paid = market.funding_bars
        self.funding_bar = np.array([bar for bar, _, _ in paid], dtype=np.int64)
        self.funding_symbol = np.array([symbol for _, symbol, _ in paid], dtype=np.int64)
        self.funding_rate = np.array([rate for _, _, rate in paid], dtype=np.float64)
        fraction = market.execution.volume_fraction_max
        self.volume_fraction = float("nan") if fraction is None else fraction

    def arguments(self, account: Account) -> tuple[Any, ...]:
        """What ``kernel.simulate`` takes after the changes, and ``kernel.run_cells`` after the quotes: market, then
        account.
        """
        caps, execution = account.caps, self.market.execution
        return (
            *(self.rules, self.rules_first, self.fee_rates, self.per_unit, self.is_spot, self.quantity_unit),
            *(self.funding_bar, self.funding_symbol, self.funding_rate),
            *(account.start_cash, execution.adverse_fraction, self.volume_fraction, execution.latency_bars),
            -1 if caps.order_notional_max is None else caps.order_notional_max,
            -1 if caps.symbol_notional_max is None else caps.symbol_notional_max,
            *(caps.leverage_max, account.permissions.new_risk, account.permissions.short),
        )


@dataclass
class Tape:
    """What the kernel wrote: ``rows`` of shape (used, TAPE_COLUMNS), fill prices beside them, and the cash at the
    end.
    """

    rows: Integers
    prices: Floats
    cash: int


class TapeBuffer:
    """Memory for tapes, used again by run after run of one thread: fresh pages would cost more than the simulation."""

    def __init__(self) -> None:
        self._rows = np.zeros((0, kernel.TAPE_COLUMNS), dtype=np.int64)
        self._prices = np.zeros(0)

    def of(self, capacity: int) -> tuple[Integers, Floats]:
        """Return (rows, prices) with room for at least ``capacity`` rows; what they held before is lost."""
        if len(self._rows) < capacity:
            self._rows = np.zeros((capacity, kernel.TAPE_COLUMNS), dtype=np.int64)
            self._prices = np.zeros(capacity)
        return self._rows, self._prices


def run_kernel(
    compiled: CompiledMarket, account: Account, first_bar: int, changes: TargetChanges, buffer: TapeBuffer
) -> Tape | None:
    """Run the kernel, growing its tape as needed; None when an amount left the range of int64. The tape lies in
    ``buffer``.
    """
    market = compiled.market
    capacity = TAPE_ROWS_MIN + 4 * len(changes.bar) + len(compiled.funding_bar)
    while True:
        tape, prices = buffer.of(capacity)
        done = kernel.simulate(
            first_bar,
            market.count,
            compiled.quotes,
            compiled.volume,
            changes.bar,
            changes.symbol,
            changes.weight,
            *compiled.arguments(account),
            True,
            tape,
            prices,
        )
        status, used = int(done[0]), int(done[1])
        if status == kernel.DONE:
            return Tape(tape[:used], prices[:used], int(done[2]))
        if status == kernel.OUT_OF_RANGE:
            return None
        capacity = 2 * len(tape)


def is_compilable(market: Market) -> bool:
    """Whether the kernel can run a market: it keeps no cost of positions, which spot beside contracts would need."""
    return len({market.instruments[symbol].kind for symbol in market.symbols}) == 1


def run_compiled(market: Market, strategy: Strategy, account: Account, cache: ColumnCache | None = None) -> Trace:
    """Run a strategy with targets through the kernel; returns the same trace as ``run_general``."""
    if strategy.targets is None:
        raise StrategyError(f"{type(strategy).__qualname__} declares no targets")
    first = first_decision_bar(market, strategy)
    if first >= market.count:
        return Trace(first)
    if not is_compilable(market):
        return run_general(market, strategy, account, cache)
    changes = TargetFinder(market).find(strategy, Columns(market.bars, strategy.params.to_json(), cache), first)
    tape = run_kernel(CompiledMarket(market), account, first, changes, TapeBuffer())
    if tape is None:
        return run_general(market, strategy, account, cache)
    return _Replayer(market, account, type(strategy).__qualname__, changes).trace(first, tape)


class _Replayer:
    """Turns a tape into the trace the general path would have written."""

    def __init__(self, market: Market, account: Account, strategy: str, changes: TargetChanges) -> None:
        self._market = market
        self._account = account
        self._strategy = strategy
        self._bars = changes.bar.tolist()
        self._symbols = changes.symbol.tolist()
        self._weights = changes.weight.tolist()
        self._orders: dict[int, Order] = {}

    def trace(self, first_bar: int, tape: Tape) -> Trace:
        trace = Trace(first_bar, list(self._entries(tape)), strategy_state={})
        held: dict[str, float] = {}
        for symbol, weight in zip(self._symbols, self._weights, strict=True):
            held[self._market.symbols[symbol]] = weight
        if held:
            trace.strategy_state = {_STATE_KEY: held}
        return trace

    def _entries(self, tape: Tape) -> Iterator[Entry]:
        rows, prices = tape.rows.tolist(), tape.prices.tolist()
        row, change = 0, 0
        while row < len(rows):
            kind, bar, symbol, order, _, quantity, value, fee, extra = rows[row]
            if kind == kernel.FILL:
                yield Fill(bar, symbol, self._orders[order], quantity, prices[row], value, fee, extra, False)
            elif kind == kernel.ENDED:
                reason = "insufficient_cash" if extra == kernel.SHORT_OF_CASH else "insufficient_position"
                yield Ended(bar, self._orders[order].order_id, "cancelled", reason)
            elif kind == kernel.FUNDED:
                yield Funded(bar, symbol, self._market.funding_bars[extra][2], value)
            else:
                intents: list[Intent] = []
                while change < len(self._bars) and self._bars[change] == bar:
                    name = self._market.symbols[self._symbols[change]]
                    intents.append(target(name, self._weights[change], reason="target"))
                    change += 1
                last = row + 1
                while last < len(rows) and rows[last][0] in (kernel.ORDERED, kernel.REFUSED, kernel.REPLACED):
                    last += 1
                yield from self._decision(bar, tuple(intents), rows[row + 1 : last])
                row = last
                continue
            row += 1

    def _decision(self, bar: int, intents: tuple[Intent, ...], rows: list[list[int]]) -> Iterator[Entry]:
        slot = self._market.close_time(bar)
        orders: list[Order] = []
        refusals: list[Refusal] = []
        ended: list[Ended] = []
        for kind, _, symbol, order, side, quantity, value, fee, extra in rows:
            name = self._market.symbols[symbol]
            if kind == kernel.REPLACED:
                ended.append(Ended(bar, self._orders[order].order_id, "cancelled", "replaced"))
            elif kind == kernel.ORDERED:
                order_id = client_order_id(self._account.name, self._strategy, name, slot, "target")
                placed = Order(
                    order_id,
                    name,
                    "market",
                    side,
                    quantity,
                    slot=slot,
                    leg="target",
                    reduce_only=bool(extra),
                    is_sized_by_runtime=True,
                    reason="target",
                )
                self._orders[order] = placed
                orders.append(placed)
            else:
                gate, detail = self._wording(extra, symbol, bar, quantity, value, fee)
                refusals.append(Refusal(gate, CATEGORY[gate], name, "target", detail))
        yield Decided(bar, slot, intents, tuple(orders), tuple(refusals), ())
        yield from ended

    def _wording(self, code: int, symbol: int, bar: int, quantity: int, first: int, second: int) -> tuple[str, str]:
        """Gate and detail of a refusal, in the words of ``core/gates.py``."""
        instrument: Instrument = self._market.instruments[self._market.symbols[symbol]]
        rules = self._market.rules_at(symbol, bar + 1)
        match code:
            case kernel.ZERO:
                return "filters", gates.quantity_zero_detail(instrument, rules)
            case kernel.MINIMUM:
                return "filters", gates.quantity_minimum_detail(instrument, rules, quantity)
            case kernel.MAXIMUM:
                return "filters", gates.quantity_maximum_detail(instrument, rules, quantity)
            case kernel.NOTIONAL:
                return "filters", gates.notional_minimum_detail(instrument, rules, first)
            case kernel.ORDER_CAP:
                return "caps", gates.order_cap_detail(instrument, first, second)
            case kernel.SYMBOL_CAP:
                return "caps", gates.symbol_cap_detail(instrument, first, second)
            case kernel.LEVERAGE:
                return "caps", gates.leverage_detail(instrument, first, second, self._account.caps.leverage_max)
            case kernel.CASH:
                return "cash", gates.cash_detail(instrument, first, second)
            case kernel.NO_NEW_RISK:
                return "permissions", gates.NO_NEW_RISK_DETAIL
        return "permissions", gates.short_detail(instrument)


def _rows(columns: Sequence[Floats]) -> Floats:
    """Stack columns into one contiguous (s, n) array of its own: kernels are compiled for writable arrays, bars are
    read-only.
    """
    return np.stack(columns)


def _blocks(mark: Floats, extreme: np.ufunc) -> Floats:
    """The extreme mark of each block of bars, the last one may be short: shape (s, ceil(n / BLOCK)); NaN for a block
    in which a symbol has no bar yet.
    """
    return np.ascontiguousarray(extreme.reduceat(mark, np.arange(0, mark.shape[1], kernel.BLOCK), axis=1))
