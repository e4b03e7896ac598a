"""The general path of the engine: any strategy, one decision per bar, plain Python. The oracle of the compiled path.

    for each bar:  match open orders  →  pay funding  →  hand over what was published  →  decide at the close  →  place,
                   to act from the next open

Columns are computed once for all bars; the inputs object is one, and only the declared columns are written into it per
bar. A strategy with a ``wake`` condition (targets imply one) is called only where it holds, after order news, and, but
for targets, when another artifact is published. Nothing here reads files or reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from trading_runtime.backtest.market import Market, fast_reads
from trading_runtime.backtest.matching import Matching
from trading_runtime.backtest.trace import NO_FACTS, Decided, Funded, Trace
from trading_runtime.core.bars import Floats
from trading_runtime.core.columns import Expression, Universe, Window
from trading_runtime.core.decision import Identity, resolve
from trading_runtime.core.errors import StrategyError, TradingRuntimeError
from trading_runtime.core.evaluate import ColumnCache, Columns, onto
from trading_runtime.core.gates import Book, Caps, Guards
from trading_runtime.core.ledger import Position
from trading_runtime.core.money import funding_amount, quote_value
from trading_runtime.core.refusals import Refusal
from trading_runtime.core.slot import inputs_class, place_in_strategy, whole_lots
from trading_runtime.core.state import FundingPaid, SlotDecided, State, apply
from trading_runtime.core.strategy import Inputs, Permissions, Proposal, Strategy
from trading_runtime.core.timeframes import iso_time

# Python lists are read three times faster than arrays, but cost 32 bytes a value: columns become lists block by block.
BLOCK_BARS = 16_384

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Account:
    """What a run starts with and may do: cash in quote units, caps and permissions, and the name in its order ids."""

    start_cash: int
    caps: Caps = field(default_factory=Caps)
    permissions: Permissions = field(default_factory=Permissions)
    name: str = "backtest"


class Start(NamedTuple):
    """Where a run goes on that did not begin at its first bar: the state before the decision at ``slot``, the first
    one that is made. Its open orders rest from then on; ``slot`` is a bar close, in milliseconds.
    """

    state: State
    slot: int


def run_general(
    market: Market,
    strategy: Strategy,
    account: Account,
    cache: ColumnCache | None = None,
    progress: Progress | None = None,
    start: Start | None = None,
) -> Trace:
    """Run ``strategy`` over ``market``; returns the trace. Raises StrategyError when the strategy breaks its contract.

    ``progress`` is called now and then with (bars done, bars in all); it cannot change anything. With ``start`` the
    state comes from there and not from ``account.start_cash``, and nothing happens before its slot.
    """
    if start is not None:
        return _Continued(market, strategy, account, cache, progress, start).run()
    return _Run(market, strategy, account, cache, progress).run()


def target_columns(market: Market, strategy: Strategy, columns: Columns) -> list[Floats]:
    """The target weight per symbol on the clock, shape (n,) each: NaN is no opinion."""
    if strategy.targets is None:
        raise StrategyError(f"{type(strategy).__qualname__} declares no targets")
    return [_on_clock(market, columns, strategy.targets, index) for index in range(len(market.symbols))]


def first_decision_bar(market: Market, strategy: Strategy) -> int:
    """The first bar of the clock at which some symbol's declared windows are full."""
    return min(market.first) + strategy.bars_needed(market.bar_ms) - 1


def target_changes(target: Floats, first_bar: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The bars, from ``first_bar`` on, at which a known target differs from the last known one (0 before any)."""
    tail = target[first_bar:]
    unknown = np.isnan(tail)
    if not unknown.any():
        known_bars, known = None, tail
    else:
        known_bars = np.flatnonzero(~unknown)
        known = tail[known_bars]
    changed = np.empty(len(known), dtype=np.bool_)
    if len(known):
        changed[0] = known[0] != 0.0
        np.not_equal(known[1:], known[:-1], out=changed[1:])
    bars = np.flatnonzero(changed)
    return (bars if known_bars is None else known_bars[bars]) + first_bar


def _on_clock(market: Market, columns: Columns, expression: Expression, symbol_index: int) -> Floats:
    symbol = market.symbols[symbol_index]
    values = columns.column(expression, symbol)
    return onto(values, market.bars[symbol], market.start_ms, market.count)


class _Run:
    """One run's mutable parts; also the source behind the inputs' slower properties."""

    def __init__(
        self,
        market: Market,
        strategy: Strategy,
        account: Account,
        cache: ColumnCache | None,
        progress: Progress | None = None,
        state: State | None = None,
    ) -> None:
        self._market = market
        self._progress = progress
        self._strategy = strategy
        self._account = account
        self._columns = Columns(market.bars, strategy.params.to_json(), cache)
        self._identity = Identity(account.name, type(strategy).__qualname__)
        self._trace = Trace(first_decision_bar(market, strategy))
        begun = State(account.start_cash) if state is None else state
        self._matching = Matching(market, begun, self._trace.entries, account.name, self._identity.strategy)
        self._instruments = {symbol: market.instruments[symbol] for symbol in market.symbols}
        self._marks = {symbol: fast_reads(mark) for symbol, mark in zip(market.symbols, market.mark, strict=True)}
        self._quote_unit = float(self._instruments[market.symbols[0]].quote_unit)
        self._funding_next = 0
        self._published_next = 0
        self._refusals_seen: dict[Refusal, Refusal] = {}
        self._inputs, self._loaders = self._prepare_inputs()

    def run(self) -> Trace:
        market, trace = self._market, self._trace
        if trace.first_bar >= market.count:
            return trace
        wake_bars = self._wake_bars()
        try:
            if wake_bars is None:
                self._run_every_bar()
            else:
                self._run_wake_bars(wake_bars)
        except TradingRuntimeError:
            raise
        except Exception as error:
            raised = place_in_strategy(error, type(self._strategy))
            if raised is None:
                raise  # a defect of the engine keeps its traceback
            moment = iso_time(market.close_time(self._inputs.index))
            raise StrategyError(
                f"{type(self._strategy).__name__}.decide raised {type(error).__name__}: {error} ({raised}) at {moment}"
            ) from error
        self._settle_funding(market.count - 1)
        trace.strategy_state = self._matching.state.strategy_state
        return trace

    def _run_every_bar(self) -> None:
        market, matching, inputs = self._market, self._matching, self._inputs
        decide = self._strategy.decide
        working = matching.working
        first, count = self._trace.first_bar, market.count
        due = min(self._funding_bar(), self._publication_bar())
        edges = [*range(first, count, BLOCK_BARS), count]
        for start, stop in pairwise(edges):
            if self._progress is not None:
                self._progress(start, count)
            load = self._loaders(start, stop)
            for bar in range(start, stop):
                if working:
                    matching.match(bar)
                if bar >= due:
                    self._settle_funding(bar)
                    self._publish(bar)
                    due = min(self._funding_bar(), self._publication_bar())
                load(bar)
                proposal = decide(inputs)
                if proposal is not None:
                    self._handle(proposal, bar)

    def _run_wake_bars(self, wake_bars: list[int]) -> None:
        market, matching, inputs = self._market, self._matching, self._inputs
        decide = self._strategy.decide
        load = self._loaders(0, market.count, lists=False)
        working = matching.working
        wake_next, wake_count = 0, len(wake_bars)
        bar = self._trace.first_bar - 1
        while True:
            while wake_next < wake_count and wake_bars[wake_next] <= bar:
                wake_next += 1
            following = wake_bars[wake_next] if wake_next < wake_count else market.count
            bar = bar + 1 if working or matching.has_news else following
            if bar >= market.count:
                return
            if self._funding_bar() < bar:
                self._settle_funding(bar - 1)
            if working:
                matching.match(bar)
            if self._funding_bar() == bar:
                self._settle_funding(bar)
            if bar == following or matching.has_news:
                matching.has_news = False
                self._publish(bar)
                load(bar)
                proposal = decide(inputs)
                if proposal is not None:
                    self._handle(proposal, bar)

    def _handle(self, proposal: Proposal, bar: int) -> None:
        market, matching = self._market, self._matching
        state = matching.state
        # A symbol without a bar yet has no mark: NaN differs from itself.
        marks = {symbol: mark[bar] for symbol, mark in self._marks.items() if mark[bar] == mark[bar]}
        # The decision is made at the bar's close, which is the next bar's open: rules of that moment hold.
        rules, account = market.all_rules_at(bar + 1), self._account
        book = Book(state, self._instruments, rules, marks, account.permissions, account.caps, _NO_GUARDS)
        slot = market.close_time(bar)
        decision = resolve(proposal, state, book, slot, self._identity)
        facts = decision.facts if decision.intents else NO_FACTS
        refusals = self._kept(decision.refusals) if decision.refusals else ()
        self._trace.entries.append(
            Decided(bar, slot, decision.intents, decision.orders, refusals, decision.reasons, facts)
        )
        for ended in decision.cancels:
            matching.cancel(ended.order_id, ended.reason, bar)
        matching.place(decision.orders, bar)
        matching.state = apply(matching.state, SlotDecided(slot, decision.strategy_state))
        self._inputs.state = MappingProxyType(decision.strategy_state)  # a strategy may read its state, not change it

    def _funding_bar(self) -> int:
        """The bar of the next funding payment; beyond the end when there is none."""
        payments = self._market.funding_bars
        return payments[self._funding_next][0] if self._funding_next < len(payments) else self._market.count

    def _settle_funding(self, bar: int) -> None:
        """Pay what falls due up to and including the close of ``bar`` on the positions held then."""
        market, matching = self._market, self._matching
        while self._funding_bar() <= bar:
            due, index, rate = market.funding_bars[self._funding_next]
            self._funding_next += 1
            symbol = market.symbols[index]
            quantity = matching.state.quantity(symbol)
            if quantity:
                value = quote_value(self._marks[symbol][due], quantity, self._instruments[symbol].value_per_unit)
                amount = funding_amount(value, rate)
                matching.state = apply(matching.state, FundingPaid(symbol, amount))
                self._trace.entries.append(Funded(due, index, rate, amount))

    def _kept(self, refusals: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
        """Return equal refusals as one object: a gate that stays shut says the same at every bar."""
        seen = self._refusals_seen
        return tuple([seen.setdefault(refusal, refusal) for refusal in refusals])

    def _publication_bar(self) -> int:
        """The bar at whose close another artifact is in force; beyond the end when there is none."""
        publications = self._market.publication_bars
        return publications[self._published_next][0] if self._published_next < len(publications) else self._market.count

    def _publish(self, bar: int) -> None:
        """Hand over what is published by the close of ``bar``: a copy, so that nobody changes it for others."""
        if self._publication_bar() > bar:
            return
        while self._publication_bar() <= bar:
            self._published_next += 1
        self._inputs.artifact = deepcopy(self._market.publication_bars[self._published_next - 1][1])

    def _wake_bars(self) -> list[int] | None:
        """The bars at which decide must be called, or None for every bar. Targets wake where a target changes."""
        strategy, first = self._strategy, self._trace.first_bar
        if strategy.wake is not None:
            awake = np.zeros(self._market.count, dtype=np.bool_)
            for index in range(len(self._market.symbols)):
                column = _on_clock(self._market, self._columns, strategy.wake, index)
                awake |= (column != 0.0) & ~np.isnan(column)
            for bar, _ in self._market.publication_bars:
                awake[max(bar, first) :][:1] = True  # what was published before counts as news at the first decision
            return [int(bar) for bar in np.flatnonzero(awake[first:]) + first]
        if strategy.targets is not None:
            changes = [
                target_changes(target, first) for target in target_columns(self._market, strategy, self._columns)
            ]
            bars = changes[0] if len(changes) == 1 else np.unique(np.concatenate(changes))
            listed: list[int] = bars.tolist()
            return listed
        return None

    def _prepare_inputs(self) -> tuple[Inputs, Callable[..., Callable[[int], None]]]:
        """Return the inputs object and a maker of functions that write one bar's declared columns into it."""
        strategy, market = self._strategy, self._market
        values = strategy.params.to_json()
        names: list[str] = []
        shapes: list[str] = []
        rows: list[list[Floats]] = []
        lengths: list[int] = []
        symbols = range(len(market.symbols))
        for name, expression in strategy.columns.items():
            of_universe = isinstance(expression, Universe)
            inner = expression.source if isinstance(expression, Universe) else expression
            names.append(name)
            shapes.append(
                ("windows" if of_universe else "window")
                if isinstance(inner, Window)
                else ("tuple" if of_universe else "value")
            )
            lengths.append(inner.count(values) if isinstance(inner, Window) else 1)
            rows.append(
                [_on_clock(market, self._columns, inner, index) for index in (symbols if of_universe else range(1))]
            )
        if strategy.targets is not None:
            names.append("target")
            shapes.append("tuple")
            lengths.append(1)
            rows.append(target_columns(market, strategy, self._columns))
        inputs = inputs_class(type(strategy), tuple(names))()
        inputs.symbols = market.symbols
        inputs.symbol = market.symbols[0]
        inputs.state = MappingProxyType({})
        inputs.permissions = self._account.permissions
        inputs.artifact = None
        inputs._source = self
        for row in rows:
            for column in row:
                column.flags.writeable = False

        def loader(start: int, stop: int, *, lists: bool = True) -> Callable[[int], None]:
            def block(column: Floats) -> Sequence[float]:
                if lists:
                    listed: list[float] = column[start:stop].tolist()
                    return listed
                return fast_reads(column[start:stop])

            blocks: list[Any] = []
            for shape, row in zip(shapes, rows, strict=True):
                if shape in ("window", "windows"):
                    blocks.append(row[0] if shape == "window" else row)
                else:
                    blocks.append(block(row[0]) if shape == "value" else [block(column) for column in row])
            return make_loader(inputs, tuple(names), tuple(shapes), blocks, tuple(lengths), start)

        return inputs, loader

    # The slower properties of the inputs.
    def time_of(self, bar: int) -> int:
        return self._market.close_time(bar)

    def price_of(self, symbol: str, bar: int) -> float:
        price: float = self._marks[symbol][bar]
        return price

    def position_of(self, symbol: str) -> float:
        quantity = self._matching.state.quantity(symbol)
        return self._instruments[symbol].quantity_float(quantity) if quantity else 0.0

    def entry_price_of(self, symbol: str) -> float:
        position = self._matching.state.positions.get(symbol)
        if position is None or not position.quantity:
            return 0.0
        return position.cost / (position.quantity * self._instruments[symbol].value_per_unit)

    def positions(self) -> dict[str, Position]:
        """The ledger's positions, for those who record a run; no property of the inputs."""
        return dict(self._matching.state.positions)

    def profit_of(self, symbol: str, bar: int) -> float:
        position = self._matching.state.positions.get(symbol)
        if position is None:
            return 0.0
        value = 0
        if position.quantity:
            value = quote_value(self.price_of(symbol, bar), position.quantity, self._instruments[symbol].value_per_unit)
        return position.profit(value) * self._quote_unit

    def lot_of(self, symbol: str, bar: int) -> float:
        instrument = self._instruments[symbol]
        return instrument.quantity_float(instrument.rules_at(self._market.close_time(bar)).lot)

    def equity(self, bar: int) -> float:
        state = self._matching.state
        units = state.cash
        for symbol, position in state.positions.items():
            if position.quantity:
                units += quote_value(
                    self.price_of(symbol, bar), position.quantity, self._instruments[symbol].value_per_unit
                )
        return units * self._quote_unit

    def cash(self) -> float:
        return self._matching.free_cash() * self._quote_unit

    def open_orders(self) -> Sequence[Any]:
        return tuple(self._matching.state.orders.values())


class _Continued(_Run):
    """A run that takes up a state in the middle: with its orders resting, its funding paid, and what fees in coins left
    beyond whole lots hidden from the strategy, as a live cycle does.
    """

    def __init__(
        self,
        market: Market,
        strategy: Strategy,
        account: Account,
        cache: ColumnCache | None,
        progress: Progress | None,
        start: Start,
    ) -> None:
        super().__init__(market, strategy, account, cache, progress, start.state)
        trace, matching = self._trace, self._matching
        first = trace.first_bar = max(trace.first_bar, (start.slot - market.start_ms) // market.bar_ms - 1)
        matching.rest(start.state.orders.values(), first + 1)
        matching.has_news = True  # what woke the strategy before may be unchanged at this bar
        self._inputs.state = MappingProxyType(dict(start.state.strategy_state))
        while self._funding_bar() < first:
            self._funding_next += 1

    def position_of(self, symbol: str) -> float:
        quantity = self._whole_lots(symbol)
        return self._instruments[symbol].quantity_float(quantity) if quantity else 0.0

    def entry_price_of(self, symbol: str) -> float:
        return super().entry_price_of(symbol) if self._whole_lots(symbol) else 0.0

    def _whole_lots(self, symbol: str) -> int:
        time_ms = self._market.close_time(self._inputs.index)
        return whole_lots(self._matching.state.quantity(symbol), self._instruments[symbol], time_ms)


_NO_GUARDS = Guards()


def make_loader(
    inputs: Inputs,
    names: tuple[str, ...],
    shapes: tuple[str, ...],
    blocks: list[Any],
    lengths: tuple[int, ...],
    start: int,
) -> Callable[[int], None]:
    """Return ``load(bar)``, which writes one bar's columns into ``inputs``.

    The function's source is generated, as dataclasses do: one plain assignment per declared column costs 20 ns, a loop
    over them four times that. Names were checked to be attribute names when the strategy class was made.
    """
    lines = [f"def load(bar, view=view, {', '.join(f'c{i}=c{i}' for i in range(len(names)))}):"]
    lines.append("    view.index = bar")
    if "value" in shapes or "tuple" in shapes:
        lines.append(f"    row = bar - {start}" if start else "    row = bar")
    for i, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        if shape == "value":
            value = f"c{i}[row]"
        elif shape == "tuple":
            value = f"({' '.join(f'c{i}[{k}][row],' for k in range(len(blocks[i])))})"
        elif shape == "window":
            value = f"c{i}[bar - {lengths[i] - 1}:bar + 1]"
        else:
            value = f"({' '.join(f'c{i}[{k}][bar - {lengths[i] - 1}:bar + 1],' for k in range(len(blocks[i])))})"
        lines.append(f"    view.{name} = {value}")
    scope: dict[str, Any] = {"view": inputs, **{f"c{i}": block for i, block in enumerate(blocks)}}
    exec("\n".join(lines), scope)  # noqa: S102 -- made of checked attribute names and numbers only
    load: Callable[[int], None] = scope["load"]
    return load
