"""A recorded session beside the backtest over the same bars: what either earned, and where each unit of difference is.

    recorded start state, bars, rules, parameters  ──►  run_general  ──►  orders matched by client order id  ──►  lines

Both begin before the session's first decision and end before its last one acts: what that one sends fills in a bar
that the journal does not have. The backtest pays funding at the rates that the recorded payments come to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trading_runtime.backtest.engine import Account, Start, run_general
from trading_runtime.backtest.market import Market, Publication
from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import BarsError, ConfigurationError, DataError, StoreDamaged, StrategyError
from trading_runtime.core.fills import Execution
from trading_runtime.core.gates import Caps
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.state import State, state_from_json
from trading_runtime.core.strategy import Permissions, Strategy
from trading_runtime.core.timeframes import iso_time, timeframe_ms
from trading_runtime.cycle.compare_classes import Line, Mark, explain, profit, totals
from trading_runtime.cycle.compare_decisions import DecisionPairs, SlotDifference
from trading_runtime.cycle.compare_sides import LiveSide, backtest_side, close_at, live_side, recorded_instruments
from trading_runtime.cycle.recorded import DecisionRecorded, Progress, RecordedSession, standing_events
from trading_runtime.cycle.replay import is_code_changed, replay_session


@dataclass
class LiveComparison:
    """What a comparison came to. Money is in quote units of ``quote_unit`` (a decimal text) of ``quote``; profits are
    without what was paid in or out, and the sum of ``lines`` is ``live`` minus ``backtest``, exactly.
    """

    session: str
    mode: str
    strategy: str
    quote: str
    quote_unit: str
    first_slot: int
    last_slot: int
    start_equity: int
    live: int
    backtest: int
    live_fills: int
    backtest_fills: int
    lines: list[Line] = field(default_factory=list)
    decisions: int = 0
    differing: list[SlotDifference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def difference(self) -> int:
        return self.live - self.backtest

    @property
    def unexplained(self) -> list[SlotDifference]:
        """The slots at which decisions differ for no reason that was recorded."""
        return [one for one in self.differing if not one.reasons]

    def classes(self) -> dict[str, int]:
        return totals(self.lines)

    def largest(self, count: int) -> list[Line]:
        """The lines that weigh most, heaviest first."""
        return sorted(self.lines, key=lambda line: -abs(line.amount))[:count]

    def to_json(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "mode": self.mode,
            "strategy": self.strategy,
            "quote": self.quote,
            "quote_unit": self.quote_unit,
            "first_slot": iso_time(self.first_slot),
            "last_slot": iso_time(self.last_slot),
            "start_equity": self.start_equity,
            "live": self.live,
            "backtest": self.backtest,
            "difference": self.difference,
            "live_fills": self.live_fills,
            "backtest_fills": self.backtest_fills,
            "classes": self.classes(),
            "lines": [line._asdict() | {"slot": line.slot and iso_time(line.slot)} for line in self.lines],
            "decisions": self.decisions,
            "differing": [one.to_json() for one in self.differing],
            "unexplained": len(self.unexplained),
            "notes": self.notes,
        }


def compare_session(
    recorded: RecordedSession,
    strategy: Strategy,
    *,
    data: Mapping[str, Bars] | None = None,
    progress: Progress | None = None,
) -> LiveComparison:
    """Run the backtest of a recorded session and explain the difference.

    The bars are the recorded ones; with ``data`` (all symbols, the session's timeframe, reaching back to the windows of
    the first decision) they are those, so that what a source has changed since shows as data revisions. ``progress`` is
    called with (bars done, bars in all). Raises DataError for bars that are missing or a session without decisions,
    StoreDamaged when its events do not lead from its first to its last decision, StrategyError when the strategy fails.
    """
    standing = [one for one in recorded.decisions() if not one.superseded]
    if not standing:
        raise DataError(f"session {recorded.session} has no decision to compare")
    first, last = standing[0], standing[-1]
    start, end = state_from_json(first.seen["state"]), state_from_json(last.seen["state"])
    instruments = recorded_instruments(standing)
    bars = _bars(recorded, standing, data)
    live = _live(recorded, first, last, bars, instruments)
    # A slot may have been decided twice: closing everything is a decision of its own.
    seen = {one.slot: one.seen["artifact"] for one in standing}
    publications = [Publication(slot, artifact) for slot, artifact in seen.items()]
    own = {symbol: instruments[symbol] for symbol in bars}
    market = Market(bars, own, _execution(recorded), live.rates, publications)
    trace = run_general(market, strategy, _account(first), progress=progress, start=Start(start, first.slot))
    backtest = backtest_side(trace, market)

    marks = _marks(recorded, last, bars, instruments)
    held = {symbol: position.quantity for symbol, position in start.positions.items() if position.quantity}
    before = sum(
        Mark(close_at(bars[symbol], first.slot), marks[symbol].value_per_unit).value(quantity)
        for symbol, quantity in held.items()
    )
    # What was held at the start has changed in value since, for both sides alike.
    carried = sum(marks[symbol].value(quantity) for symbol, quantity in held.items()) - before
    pairs = DecisionPairs(standing, trace, market, start)
    result = LiveComparison(
        session=recorded.session,
        mode=recorded.mode,
        strategy=f"{type(strategy).__module__}:{type(strategy).__qualname__}",
        quote=instruments[market.symbols[0]].quote,
        quote_unit=str(instruments[market.symbols[0]].quote_unit),
        first_slot=first.slot,
        last_slot=last.slot,
        start_equity=start.cash + before,
        live=_equity(end, marks) - (end.flows - start.flows) - start.cash - before,
        backtest=profit(backtest, held, marks) + carried,
        live_fills=live.fills,
        backtest_fills=len(trace.fills()),
        lines=explain(live.side, backtest, held, marks, pairs.quantity_class),
        decisions=len(standing),
        differing=pairs.differing(),
        notes=live.notes,
    )
    if sum(line.amount for line in result.lines) != result.difference:
        raise AssertionError(f"session {recorded.session}: the lines do not add up to the difference")
    if start.orders and recorded.mode != "paper":
        result.notes.append(
            f"{len(start.orders)} order(s) of an earlier session were open at the first decision; stops and "
            "take-profits that the runtime itself watched then are not in the backtest"
        )
    _explain_by_code(recorded, strategy, result)
    return result


def _explain_by_code(recorded: RecordedSession, strategy: Strategy, result: LiveComparison) -> None:
    """Name other code as a reason; where the code is the same, take every reason from a decision that it does not make
    again from what was recorded: no difference in what it was given explains that.
    """
    if not result.differing:
        return
    if is_code_changed(recorded, strategy):
        for one in result.differing:
            one.reasons.append("the strategy's code has changed since")
        return
    replay = replay_session(recorded, strategy, slots={one.slot for one in result.differing})
    wrong = {one.slot for one in replay.differing if not one.superseded}
    for one in result.differing:
        if one.slot in wrong:
            one.reasons.clear()
    if wrong:
        result.notes.append(
            f"{len(wrong)} recorded decision(s) are not what their inputs give: see trading-runtime replay"
        )


def _live(
    recorded: RecordedSession,
    first: DecisionRecorded,
    last: DecisionRecorded,
    bars: Mapping[str, Bars],
    instruments: Mapping[str, Instrument],
) -> LiveSide:
    """Return the session's side between its first and its last decision."""
    events = [one for sequence, one in standing_events(recorded) if first.sequence < sequence < last.sequence]
    problem = ""
    try:
        live = live_side(
            state_from_json(first.seen["state"]),
            events,
            bars,
            instruments,
            bar_ms=timeframe_ms(recorded.timeframe),
            is_paper=recorded.mode == "paper",
        )
        if live.state.to_json() == last.seen["state"]:
            return live
    except (StrategyError, KeyError, TypeError) as error:
        problem = f" ({type(error).__name__}: {error})"
    raise StoreDamaged(
        f"session {recorded.session}: its events do not lead from its first to its last decision{problem}; "
        "`trading-runtime replay` names the entry at which they stop"
    )


def _account(first: DecisionRecorded) -> Account:
    seen = first.seen
    account = seen["identity"]["account"]
    return Account(seen["state"]["cash"], Caps(**seen["caps"]), Permissions(**seen["permissions"]), account)


def _execution(recorded: RecordedSession) -> Execution:
    """Return how the session's settings say that orders execute; the defaults where it does not tell."""
    described = recorded.identity.get("execution")
    if not isinstance(described, Mapping):
        return Execution()
    try:
        return Execution(**described)
    except TypeError as error:
        raise ConfigurationError(
            f"session {recorded.session}: its execution settings are of another version: {error}"
        ) from None


def _bars(
    recorded: RecordedSession, standing: Sequence[DecisionRecorded], data: Mapping[str, Bars] | None
) -> dict[str, Bars]:
    """Return the backtest's bars by symbol, in the session's order, up to the last slot. Raises DataError that names
    every symbol whose bars are not all there.
    """
    first, last = standing[0], standing[-1]
    seen = {symbol for decision in standing for symbol in decision.seen["bars"]}
    unseen = sorted({symbol for decision in standing for symbol in decision.seen.get("suspended", ())} - seen)
    if unseen:
        raise DataError(
            f"session {recorded.session} holds {', '.join(unseen)}, whose market did not trade as long as it lasted: "
            "there is no backtest of that; decide it again with trading-runtime replay"
        )
    symbols = [symbol for symbol in recorded.symbols if symbol in seen]
    symbols += sorted(seen - set(symbols))
    longer = sorted({timeframe for decision in standing for timeframe in decision.seen.get("longer", {})})
    if data is None and not longer:
        *_, (_, rows) = recorded.walk()
        try:
            whole = rows.whole(last.slot)
        except BarsError as error:
            raise DataError(
                f"session {recorded.session}: {error}, because slots were skipped or its market stood still; give the "
                "bars with --data"
            ) from error
        return {symbol: whole[symbol] for symbol in symbols}
    found: dict[str, Bars] = {}
    missing: list[str] = []
    for symbol in symbols:
        from_ms = _needed_from(symbol, standing)
        trouble = _trouble(symbol, (data or {}).get(symbol), recorded.timeframe, from_ms, last.slot)
        if trouble is not None:
            span = f"{iso_time(from_ms)} to {iso_time(last.slot)}"
            missing.append(f"{symbol.replace('/', '-').replace(':', '_')}-{recorded.timeframe} from {span}{trouble}")
        elif data is not None:
            found[symbol] = data[symbol].between(_first_opens(first.seen, symbol)[1], last.slot)
    if missing:
        why = f", because it decided on bars of {' and '.join(longer)} that were asked for apart" if longer else ""
        raise DataError(
            f"session {recorded.session} needs every bar of {recorded.timeframe} of {len(symbols)} symbol(s) with "
            f"--data{why}; missing: {'; '.join(missing)}"
        )
    return found


def _needed_from(symbol: str, standing: Sequence[DecisionRecorded]) -> int:
    """Return when the first bar opened that a decision depended on: of a symbol that came later, one of those."""
    opens = (_first_opens(decision.seen, symbol)[0] for decision in standing)
    return next(first for first in opens if first is not None)


def _trouble(symbol: str, series: Bars | None, timeframe: str, from_ms: int, to_ms: int) -> str | None:
    """Return what is wrong with the data of a symbol, None when it reaches over the whole span."""
    if series is None:
        return ""
    if series.timeframe != timeframe:
        return f" (what was given has bars of {series.timeframe})"
    starts, ends = int(series.open_time[0]), int(series.close_time[-1])
    if starts <= from_ms and int(series.between(from_ms, to_ms).close_time[-1]) == to_ms:
        return None
    return f" (what was given goes from {iso_time(starts)} to {iso_time(ends)})"


def _first_opens(seen: Mapping[str, Any], symbol: str) -> tuple[int | None, int | None]:
    """Return when the first bar opened that a decision depended on, and from when on bars are taken where there are
    any; None of a symbol that it did not know. Longer bars that are made of shorter ones take up to one longer bar
    more, for they may have begun anywhere within it.
    """
    reference = seen["bars"].get(symbol)
    if reference is None:
        return None, None
    first: int = reference["first_open"]
    wider = first
    for of_symbols in seen.get("longer", {}).values():
        if symbol in of_symbols:
            one = of_symbols[symbol]
            first = min(first, one["first_open"])
            wider = min(wider, one["first_open"] - timeframe_ms(one["timeframe"]))
    return first, wider


def _marks(
    recorded: RecordedSession,
    last: DecisionRecorded,
    bars: Mapping[str, Bars],
    instruments: Mapping[str, Instrument],
) -> dict[str, Mark]:
    """Return the closes that the last decision saw, at which both sides are valued; the last known one of a symbol that
    it did not see.
    """
    found = {
        symbol: Mark(float(series.close[-1]), instruments[symbol].value_per_unit) for symbol, series in bars.items()
    }
    for step, rows in recorded.walk():
        if step is last:
            for symbol, reference in last.seen["bars"].items():
                window = rows.window(symbol, reference["first_open"], reference["count"])
                found[symbol] = found[symbol]._replace(price=float(window.close[-1]))
            break
    return found


def _equity(state: State, marks: Mapping[str, Mark]) -> int:
    """Return cash and positions in quote units."""
    held = [position for position in state.positions.values() if position.quantity]
    return state.cash + sum(marks[one.symbol].value(one.quantity) for one in held)
