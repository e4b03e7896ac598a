"""The decision for one slot from the declared bars alone: what a live cycle makes and a replay makes again.

    SlotInputs (bars, state, instruments, permissions, caps, guards, artifact)  ──►  decide_slot  ──►  Decision

A backtest decides the same on all bars at once (``backtest/engine.py``); ``verify`` and the parity tests hold the two
together. What a decision depends on is in ``SlotInputs`` and nowhere else, so a journal that has it has everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from trading_runtime.core.bars import Bars
from trading_runtime.core.columns import Expression, Universe, Window
from trading_runtime.core.decision import Decision, Identity, resolve
from trading_runtime.core.errors import StrategyError, TradingRuntimeError
from trading_runtime.core.evaluate import Columns, onto
from trading_runtime.core.gates import Book, Caps, Guards, certain_value
from trading_runtime.core.instruments import Instrument, instrument_from_json, instrument_to_json
from trading_runtime.core.intents import Intent, cancel, close
from trading_runtime.core.money import quote_value
from trading_runtime.core.refusals import Refusal
from trading_runtime.core.state import Order, State, state_from_json
from trading_runtime.core.strategy import Inputs, Permissions, Proposal, Strategy
from trading_runtime.core.timeframes import iso_time

_INPUTS_CLASSES: dict[tuple[type, tuple[str, ...]], type[Inputs]] = {}


class SlotInputs(NamedTuple):
    """All that a decision depends on besides the strategy and its parameters.

    ``bars`` by symbol in the strategy's order, each ending with the bar that closed at ``slot``. ``flatten`` asks for
    nothing of the strategy: everything open is cancelled and closed. It is 1 for the slot's first such decision, for a
    later one any number that none before it had: part of the ids of its orders. ``columns`` are the values of the
    declared columns by name where somebody else computed them (a recorded cycle of another engine): then no more of the
    bars is needed than the newest one, for the price. ``longer`` are closed bars of longer timeframes, by timeframe and
    symbol, where those are not to be made of ``bars``. ``treasury`` is an intent of the runtime itself (the coin that
    fees are paid with), decided after the strategy's, with its facts, or the refusal of one. ``suspended`` are the last
    known prices of symbols that are held and have no bars, because their market does not trade: an instrument of each
    is among ``instruments``, for its units.
    """

    slot: int
    bars: Mapping[str, Bars]
    state: State
    instruments: Mapping[str, Instrument]
    identity: Identity
    permissions: Permissions
    caps: Caps
    guards: Guards
    artifact: Any = None
    flatten: int = 0
    columns: Mapping[str, Any] | None = None
    longer: Mapping[str, Mapping[str, Bars]] = MappingProxyType({})
    treasury: Mapping[str, Any] | None = None
    suspended: Mapping[str, float] = MappingProxyType({})

    def marks(self) -> dict[str, float]:
        """The close of each symbol's newest bar, and the last known prices of what is suspended."""
        return {**{symbol: float(bars.close[-1]) for symbol, bars in self.bars.items()}, **self.suspended}

    def equity(self) -> int:
        """Cash and positions at the marks, in quote units."""
        marks = self.marks()
        return self.state.cash + sum(
            quote_value(marks[symbol], position.quantity, self.instruments[symbol].value_per_unit)
            for symbol, position in self.state.positions.items()
            if position.quantity
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data without the bars, which are named by count and content hash."""
        return {
            "slot": self.slot,
            "symbols": list(self.bars),
            "bars": {symbol: bars_reference(bars) for symbol, bars in self.bars.items()},
            "state": self.state.to_json(),
            "instruments": {symbol: instrument_to_json(one) for symbol, one in self.instruments.items()},
            "identity": self.identity._asdict(),
            "permissions": {"new_risk": self.permissions.new_risk, "short": self.permissions.short},
            "caps": self.caps._asdict(),
            "guards": {
                **self.guards._asdict(),
                "distrusted_symbols": sorted(self.guards.distrusted_symbols),
                "frozen_symbols": sorted(self.guards.frozen_symbols),
                "details": dict(self.guards.details),
            },
            "artifact": self.artifact,
            "flatten": int(self.flatten),
            **({} if self.columns is None else {"columns": dict(self.columns)}),
            **({} if not self.longer else {"longer": longer_reference(self.longer)}),
            **({} if self.treasury is None else {"treasury": dict(self.treasury)}),
            **({} if not self.suspended else {"suspended": dict(self.suspended)}),
        }


def slot_inputs_from_json(
    content: Mapping[str, Any], bars: Mapping[str, Bars], longer: Mapping[str, Mapping[str, Bars]] | None = None
) -> SlotInputs:
    """Return the inputs that ``SlotInputs.to_json`` wrote; raises StrategyError for damage, or for other bars."""
    longer = {} if longer is None else longer
    if longer_reference(longer) != content.get("longer", {}):
        raise StrategyError("the bars of longer timeframes are not the recorded ones")
    # Stored JSON sorts its keys; the order of the symbols is part of what a strategy sees.
    for symbol in content["symbols"]:
        reference = content["bars"][symbol]
        if symbol not in bars or bars_reference(bars[symbol]) != reference:
            raise StrategyError(f"the bars of {symbol} are not the recorded ones")
    guards = content["guards"]
    return SlotInputs(
        slot=content["slot"],
        bars={symbol: bars[symbol] for symbol in content["symbols"]},
        state=state_from_json(content["state"]),
        instruments={symbol: instrument_from_json(one) for symbol, one in content["instruments"].items()},
        identity=Identity(**content["identity"]),
        permissions=Permissions(**content["permissions"]),
        caps=Caps(**content["caps"]),
        guards=Guards(
            **{
                **guards,
                "distrusted_symbols": frozenset(guards["distrusted_symbols"]),
                "frozen_symbols": frozenset(guards["frozen_symbols"]),
            }
        ),
        artifact=content["artifact"],
        flatten=int(content["flatten"]),
        columns=content.get("columns"),
        longer=longer,
        treasury=content.get("treasury"),
        suspended=content.get("suspended", {}),
    )


def bars_reference(bars: Bars) -> dict[str, Any]:
    """Return what names bars in a journal: timeframe, first open time, count and content hash."""
    return {
        "timeframe": bars.timeframe,
        "first_open": int(bars.open_time[0]),
        "count": len(bars),
        "sha256": bars.content_hash(),
    }


def longer_reference(longer: Mapping[str, Mapping[str, Bars]]) -> dict[str, dict[str, Any]]:
    """Return what names bars of longer timeframes in a journal."""
    return {
        timeframe: {symbol: bars_reference(bars) for symbol, bars in sorted(of_symbols.items())}
        for timeframe, of_symbols in sorted(longer.items())
    }


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """Return a decision as plain data, for journals and for comparing two of them byte for byte."""
    return {
        "slot": decision.slot,
        "intents": [intent.to_json() for intent in decision.intents],
        "cancels": [one._asdict() for one in decision.cancels],
        "orders": [order.to_json() for order in decision.orders],
        "refusals": [refusal.to_json() for refusal in decision.refusals],
        "strategy_state": dict(decision.strategy_state),
        "reasons": list(decision.reasons),
        "facts": dict(decision.facts),
    }


def decide_slot(strategy: Strategy, given: SlotInputs) -> Decision:
    """Return what ``strategy`` decides at the slot. Raises StrategyError, naming file and line, when it fails."""
    if given.flatten:
        proposal: Proposal | None = _flat(given.state, given.flatten)
    else:
        inputs = _inputs(strategy, given)
        try:
            proposal = strategy.decide(inputs)
        except TradingRuntimeError:
            raise
        except Exception as error:
            place = place_in_strategy(error, type(strategy))
            if place is None:
                raise  # a defect of the runtime keeps its traceback
            raise StrategyError(
                f"{type(strategy).__name__}.decide raised {type(error).__name__}: {error} ({place}) "
                f"at {iso_time(given.slot)}"
            ) from error
    rules = {symbol: instrument.rules_at(given.slot) for symbol, instrument in given.instruments.items()}
    book = Book(
        given.state,
        given.instruments,
        rules,
        given.marks(),
        given.permissions,
        given.caps,
        given.guards,
        given.suspended.keys(),
    )
    proposal = Proposal() if proposal is None else proposal
    if given.treasury is not None and not given.flatten:
        proposal = _with_treasury(proposal, given.treasury)
    return resolve(proposal, given.state, book, given.slot, given.identity)


def _with_treasury(proposal: Proposal, treasury: Mapping[str, Any]) -> Proposal:
    """Add the runtime's own intent, last: the strategy's have their money first. Or why there is none."""
    if "refusal" in treasury:
        refusals = [*proposal.refusals, Refusal(**treasury["refusal"])]
        return Proposal(proposal.intents, proposal.state, proposal.reasons, refusals=refusals, facts=proposal.facts)
    intent = Intent(**treasury["intent"])
    facts = dict(proposal.facts or {})
    facts["intents"] = {**facts.get("intents", {}), f"{intent.symbol} {intent.leg}": treasury["facts"]}
    return Proposal(
        [*proposal.intents, intent], proposal.state, proposal.reasons, refusals=proposal.refusals, facts=facts
    )


def whole_lots(quantity: int, instrument: Instrument, time_ms: int) -> int:
    """Return the part of a signed quantity, in units, that can be traded: whole lots."""
    lot = instrument.rules_at(time_ms).lot
    return quantity // lot * lot if quantity >= 0 else -(-quantity // lot * lot)


def inputs_class(strategy: type[Strategy], names: tuple[str, ...]) -> type[Inputs]:
    """Return the Inputs subclass with one slot per declared column: writing a slot is the cheapest way to hand over a
    value.
    """
    key = (strategy, names)
    if key not in _INPUTS_CLASSES:
        _INPUTS_CLASSES[key] = type(f"{strategy.__name__}Inputs", (Inputs,), {"__slots__": names})
    return _INPUTS_CLASSES[key]


def place_in_strategy(error: BaseException, strategy: type[Strategy]) -> str | None:
    """Return "file:line" of the innermost frame of ``decide`` in an error's traceback, or None when decide is not in
    it.
    """
    decide = strategy.decide.__code__
    found = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is decide:
            found = f"{decide.co_filename.replace(chr(92), '/').rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _flat(state: State, attempt: int) -> Proposal:
    """Cancel every open order and close every position."""
    leg = "flatten" if attempt == 1 else f"f{attempt}"
    intents = [cancel(order.symbol, order.leg, reason="flatten") for order in state.orders.values()]
    intents += [
        close(position.symbol, leg=leg, reason="flatten") for position in state.positions.values() if position.quantity
    ]
    return Proposal(intents, reasons=["flatten: everything is closed by order of a person"])


def _inputs(strategy: Strategy, given: SlotInputs) -> Inputs:
    values = strategy.params.to_json()
    columns = Columns(given.bars, values, longer=given.longer)
    source = _Source(given)
    symbols = tuple(given.bars)
    declared: dict[str, Expression] = dict(strategy.columns)
    names = (*declared, "target") if strategy.targets is not None else tuple(declared)
    inputs: Any = inputs_class(type(strategy), names)()
    row = source.count - 1

    def on_clock(expression: Expression, symbol: str) -> Any:
        column = onto(columns.column(expression, symbol), given.bars[symbol], source.start_ms, source.count)
        column.flags.writeable = False
        return column

    def handed_over(expression: Expression, symbol: str) -> Any:
        column = on_clock(expression, symbol)
        if isinstance(expression, Window):
            return column[row + 1 - expression.count(values) : row + 1]
        return float(column[row])

    for name, expression in declared.items():
        if given.columns is not None:
            if name not in given.columns:
                raise StrategyError(f"column {name!r} was not given")
            column = given.columns[name]
            value: Any = tuple(map(_number, column)) if isinstance(expression, Universe) else _number(column)
        elif isinstance(expression, Universe):
            value = tuple(handed_over(expression.source, symbol) for symbol in symbols)
        else:
            value = handed_over(expression, symbols[0])
        setattr(inputs, name, value)
    if strategy.targets is not None:
        inputs.target = tuple(float(on_clock(strategy.targets, symbol)[row]) for symbol in symbols)
    inputs.symbols = symbols
    inputs.symbol = symbols[0]
    inputs.state = MappingProxyType(dict(given.state.strategy_state))
    inputs.permissions = given.permissions
    inputs.artifact = given.artifact
    inputs.index = row
    inputs._source = source
    made: Inputs = inputs
    return made


def _number(value: Any) -> float:
    """A given column's value; JSON has no NaN, so None stands for what is not known."""
    return float("nan") if value is None else float(value)


class _Source:
    """Answers what the inputs ask besides columns, from the bars at hand and the state."""

    def __init__(self, given: SlotInputs) -> None:
        self._given = given
        self.start_ms = min(int(bars.open_time[0]) for bars in given.bars.values())
        bars = next(iter(given.bars.values()))
        self.bar_ms = bars.bar_ms
        self.count = (given.slot - self.start_ms) // bars.bar_ms
        self._unit = float(next(iter(given.instruments.values())).quote_unit)
        self.suspended = MappingProxyType(dict(given.suspended))

    def time_of(self, row: int) -> int:
        return self._given.slot - (self.count - 1 - row) * self.bar_ms

    def price_of(self, symbol: str, row: int) -> float:
        if symbol in self.suspended:
            return self.suspended[symbol]
        bars = self._given.bars[symbol]
        own_row = row - (int(bars.open_time[0]) - self.start_ms) // self.bar_ms
        if row >= self.count:
            raise IndexError(f"bar {row} lies beyond the {self.count} there are")
        return float(bars.close[own_row]) if own_row >= 0 else float("nan")

    def position_of(self, symbol: str) -> float:
        quantity = self._whole_lots(symbol)
        return self._given.instruments[symbol].quantity_float(quantity) if quantity else 0.0

    def entry_price_of(self, symbol: str) -> float:
        position = self._given.state.positions.get(symbol)
        if position is None or not self._whole_lots(symbol):
            return 0.0
        return position.cost / (position.quantity * self._given.instruments[symbol].value_per_unit)

    def profit_of(self, symbol: str, row: int) -> float:
        position = self._given.state.positions.get(symbol)
        if position is None:
            return 0.0
        value = 0
        if position.quantity:
            per_unit = self._given.instruments[symbol].value_per_unit
            value = quote_value(self.price_of(symbol, row), position.quantity, per_unit)
        return position.profit(value) * self._unit

    def lot_of(self, symbol: str, row: int) -> float:
        instrument = self._given.instruments[symbol]
        return instrument.quantity_float(instrument.rules_at(self.time_of(row)).lot)

    def _whole_lots(self, symbol: str) -> int:
        """What fees in coins leave beyond whole lots cannot be traded: a strategy does not see it as a position."""
        return whole_lots(self._given.state.quantity(symbol), self._given.instruments[symbol], self._given.slot)

    def equity(self, row: int) -> float:
        state = self._given.state
        units = state.cash
        for symbol, position in state.positions.items():
            if position.quantity:
                instrument = self._given.instruments[symbol]
                value = quote_value(self.price_of(symbol, row), position.quantity, instrument.value_per_unit)
                units += certain_value(value, position.cost, instrument) if symbol in self.suspended else value
        return units * self._unit

    def cash(self) -> float:
        state = self._given.state
        cash = state.cash
        for symbol, position in state.positions.items():
            if position.quantity and self._given.instruments[symbol].kind != "spot":
                cash += position.cost  # trading contracts moves no money that spot could not be bought with
        return cash * self._unit

    def open_orders(self) -> Sequence[Order]:
        return tuple(self._given.state.orders.values())
