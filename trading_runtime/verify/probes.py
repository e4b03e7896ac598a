"""The proof: one recorded run, then every bar decided again in every way that must not matter.

    record ──► memory, repeat (recorded inputs) ──► window, past, future (every bar) ──► truncation (some)

A cut is judged twice: its columns must equal those of the whole data to the last bit, and a fresh strategy
must propose the same on them. The first is the stricter: a leak in a column shows on every bar, whether or
not it changed an intent there. Nothing here trusts an indicator because it is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, Literal, NamedTuple

from trading_runtime.backtest.engine import Account
from trading_runtime.backtest.market import Market
from trading_runtime.core.errors import BarsError, StrategyError, TradingRuntimeError
from trading_runtime.core.hashing import json_hash
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import iso_time
from trading_runtime.source import closure_files, strategy_code_hash
from trading_runtime.verify.certificate import QUESTIONS, Certificate, Difference, Probe, first_unlike
from trading_runtime.verify.clock import MovedClock, modules_of
from trading_runtime.verify.cuts import Cut, Cutter
from trading_runtime.verify.memory import changed_names, memory_of, module_memory_of
from trading_runtime.verify.record import Given, Recording, called_bars, record
from trading_runtime.verify.redecide import Redecider
from trading_runtime.verify.sample import chosen_bars, shuffled, some_of
from trading_runtime.verify.sheet import Sheet, Unlike, Value
from trading_runtime.verify.tally import Tally

# Rows computed in all for the truncation probe, whose bars cost as many rows as there are before them, and
# the least number of bars it is asked about.
PREFIX_ROWS = 20_000_000
PREFIX_BARS_MIN = 50
# The clock is moved by up to ten years, in seconds: far enough to change year, weekday and hour.
CLOCK_SECONDS = 10 * 365 * 86_400

Progress = Callable[[str, int, int], None]


class _View(NamedTuple):
    """What one cut shows and what decide makes of it; ``values`` is None when a column function raised."""

    values: list[Value] | None
    error: str
    outcome: str | None
    again: str | None


def verify_strategy(
    strategy: Strategy,
    market: Market,
    account: Account,
    *,
    bars: Literal["all"] | int = "all",
    seed: int = 0,
    progress: Progress | None = None,
) -> Certificate:
    """Return what could be proven about ``strategy`` on ``market``, for all bars or a sample of that many.

    ``progress`` is told (what, bars done, bars in all) now and then. Raises StrategyError when the strategy
    fails in an ordinary run, and BarsError when the data is too short for one decision.
    """
    return _Proof(strategy, market, account, seed, progress).run(bars)


class _Proof:
    """One proof's parts and tallies."""

    def __init__(
        self, strategy: Strategy, market: Market, account: Account, seed: int, progress: Progress | None
    ) -> None:
        self._kind = type(strategy)
        self._parameters = strategy.params.to_json()
        self._market = market
        self._account = account
        self._seed = seed
        self._progress = progress
        self._random = Random(f"verify {seed}")
        self._needed = strategy.bars_needed(market.bar_ms)
        if self._needed > market.count:
            raise BarsError(
                f"one decision needs {self._needed} bars but there are {market.count}: nothing can be proven"
            )
        self._strategy = self._fresh()
        self._sheet = Sheet(strategy, market)
        self._cutter = Cutter(market, self._needed, seed)
        self._redecider = Redecider(strategy, market, account, self._sheet.names)
        self._clock = MovedClock()
        self._tallies = {name: Tally() for name in QUESTIONS}
        self._judges_decisions = True

    def run(self, bars: Literal["all"] | int) -> Certificate:
        before, module_before = memory_of(self._strategy), module_memory_of(self._strategy)
        try:
            recording = record(self._market, self._strategy, self._account)
        except TradingRuntimeError:
            raise
        except Exception as error:
            raise StrategyError(
                f"{self._kind.__qualname__} fails in an ordinary run: {type(error).__name__}: {error}"
            ) from error
        self._purity(recording, before)
        self._targets(recording)
        self._wake(recording)
        called = recording.called()
        checked = called if bars == "all" else chosen_bars(called, recording.acting, bars, self._random)
        self._arrays = self._sheet.of_market(self._market)
        self._recorded(recording, checked)
        if not self._judges_decisions:
            hints = changed_names(module_before, module_memory_of(self._strategy))
            if hints:
                self._tallies["memory"].note = f"changed during the run: {', '.join(hints)}"
        self._windows(recording, checked)
        self._prefixes(recording, checked)
        return self._certificate(recording, len(checked))

    # --- one pass over what was recorded ---

    def _purity(self, recording: Recording, before: dict[str, str]) -> None:
        tally = self._tallies["purity"]
        called = recording.called()
        tally.bars = len(called)
        for bar, flaw in recording.flaws:
            tally.note_difference(bar, Unlike("state", "plain JSON, replaced and never changed", flaw))
        for name in changed_names(before, memory_of(self._strategy)):
            tally.note_difference(called[0], Unlike(name, "as before the run", "changed by decide"))

    def _targets(self, recording: Recording) -> None:
        tally = self._tallies["targets"]
        for bar, derived in recording.derived.items():
            tally.add(bar, _unlike_outcomes(derived, recording.outcomes[bar]))

    def _wake(self, recording: Recording) -> None:
        if self._strategy.wake is None and self._strategy.targets is None:
            return
        tally = self._tallies["wake"]
        try:
            called = called_bars(self._market, self._fresh(), self._account)
        except TradingRuntimeError as error:
            called = set()
            tally.note = f"the run with the wake condition ended early: {error}"
        acting = set(recording.acting)
        for bar in recording.called():
            missed = bar in acting and bar not in called
            _, _, proposal = first_unlike(None, recording.outcomes[bar]) if missed else ("", None, None)
            tally.add(bar, Unlike("wake", proposal, "decide is not called") if missed else None)

    def _recorded(self, recording: Recording, checked: Sequence[int]) -> None:
        """The recorded inputs again: fresh instances, shuffled order, the second time under another clock."""
        memory, repeat = self._tallies["memory"], self._tallies["repeat"]
        with self._moved_clock() as move:
            move()
            again = self._sheet.of_market(self._market)
            for bar in self._steps("recorded inputs", checked):
                given, expected = _given(recording, bar), recording.outcomes[bar]
                values = self._sheet.at(self._arrays, bar)
                self._clock.seconds = 0
                first = self._redecider.outcome(values, given, bar, None)
                move()
                second = self._redecider.outcome(values, given, bar, None)
                memory.add(bar, _unlike_outcomes(expected, first))
                unlike = self._sheet.unlike(values, self._sheet.at(again, bar))
                repeat.add(bar, unlike or _unlike_outcomes(first, second))
        # A decide that is no function of its inputs says nothing about the data it was given.
        self._judges_decisions = not (memory.differing or repeat.differing)

    # --- cuts ---

    def _windows(self, recording: Recording, checked: Sequence[int]) -> None:
        window, past, future = (self._tallies[name] for name in ("window", "past", "future"))
        with self._moved_clock():
            for bar in self._steps("windows", checked):
                expected = self._expected(recording, bar)
                alone = self._view(recording, bar, self._cutter.window(bar))
                window.add(bar, self._unlike(expected, alone))
                both = self._view(recording, bar, self._cutter.window(bar, past=True, future=True))
                unlike = self._unlike(expected, both)
                if unlike is None:
                    past.add(bar, None)
                    future.add(bar, None)
                    continue
                # Something is wrong: each side alone, against the window without it, says which.
                before = self._view(recording, bar, self._cutter.window(bar, past=True))
                after = self._view(recording, bar, self._cutter.window(bar, future=True))
                unlike_past = self._unlike(alone, before)
                unlike_future = self._unlike(alone, after)
                if self._unlike(expected, alone) is None and not unlike_past and not unlike_future:
                    unlike_past = unlike_future = unlike
                past.add(bar, unlike_past)
                future.add(bar, unlike_future)

    def _prefixes(self, recording: Recording, checked: Sequence[int]) -> None:
        truncation, future = self._tallies["truncation"], self._tallies["future"]
        count = min(max(PREFIX_ROWS // self._market.count, PREFIX_BARS_MIN), len(checked))
        acting = set(recording.acting)
        picked = some_of([bar for bar in checked if bar in acting], -(-count // 2), self._random)
        taken = set(picked)
        picked += some_of([bar for bar in checked if bar not in taken], count - len(picked), self._random)
        with self._moved_clock():
            for bar in self._steps("prefixes", picked):
                whole = self._view(recording, bar, self._cutter.prefix(bar))
                truncation.add(bar, self._unlike(self._expected(recording, bar), whole))
                followed = self._view(recording, bar, self._cutter.prefix(bar, future=True))
                future.note_difference(bar, self._unlike(whole, followed))  # counted with its window already

    def _expected(self, recording: Recording, bar: int) -> _View:
        outcome = recording.outcomes[bar]
        return _View(self._sheet.at(self._arrays, bar), "", outcome, outcome)

    def _view(self, recording: Recording, bar: int, cut: Cut) -> _View:
        try:
            values = self._sheet.of_cut(cut)
        except Exception as error:  # noqa: BLE001 - a column function may raise anything, and that is a finding
            return _View(None, f"raised {type(error).__name__}: {error}", None, None)
        if not self._judges_decisions:
            return _View(values, "", None, None)
        given = _given(recording, bar)
        self._clock.seconds = 0
        outcome = self._redecider.outcome(values, given, bar, cut)
        self._clock.seconds = int(self._random.random() * CLOCK_SECONDS)
        return _View(values, "", outcome, self._redecider.outcome(values, given, bar, cut))

    def _unlike(self, expected: _View, found: _View) -> Unlike | None:
        if expected.values is None or found.values is None:
            if expected.error == found.error:
                return None
            return Unlike("columns", expected.error or "values", found.error or "values")
        unlike = self._sheet.unlike(expected.values, found.values)
        if unlike is not None or not self._judges_decisions:
            return unlike
        return _unlike_outcomes(expected.outcome, found.outcome) or _unlike_outcomes(expected.outcome, found.again)

    # --- helpers ---

    def _fresh(self) -> Strategy:
        return self._kind(self._parameters)

    @contextmanager
    def _moved_clock(self) -> Iterator[Callable[[], None]]:
        """Install the moved clock; what is yielded moves it to another random time."""

        def move() -> None:
            self._clock.seconds = int(self._random.random() * CLOCK_SECONDS)

        with self._clock.installed(modules_of(closure_files(self._kind))):
            yield move

    def _steps(self, what: str, bars: Sequence[int]) -> Iterator[int]:
        """Yield the bars in random order, so that nothing kept from one bar fits the next; tell progress."""
        for done, bar in enumerate(shuffled(bars, self._random)):
            if self._progress is not None and done % 256 == 0:
                self._progress(what, done, len(bars))
            yield bar
        if self._progress is not None:
            self._progress(what, len(bars), len(bars))

    def _certificate(self, recording: Recording, checked: int) -> Certificate:
        kind, market = self._kind, self._market
        data: list[dict[str, Any]] = [
            {
                "symbol": symbol,
                "timeframe": bars.timeframe,
                "bars": len(bars),
                "first_time": iso_time(int(bars.open_time[0])),
                "last_time": iso_time(int(bars.open_time[-1])),
                "content_hash": bars.content_hash(),
            }
            for symbol, bars in market.bars.items()
        ]
        changes = [[iso_time(market.close_time(bar)), artifact] for bar, artifact in market.publication_bars]
        published = None if not changes else {"changes": len(changes), "timeline_hash": json_hash(changes)}
        return Certificate(
            strategy=f"{kind.__module__}:{kind.__qualname__}",
            code_hash=strategy_code_hash(kind),
            parameters=self._parameters,
            bars_needed=self._needed,
            data=tuple(data),
            seed=self._seed,
            bars=len(recording.called()),
            bars_checked=checked,
            bars_acting=len(recording.acting),
            scrambled_bars=self._cutter.scrambled_bars,
            probes=tuple(self._probe(name, tally) for name, tally in self._tallies.items()),
            artifact=published,
        )

    def _probe(self, name: str, tally: Tally) -> Probe:
        if not tally.bars:
            return Probe(name, 0, 0, "not applicable", note=tally.note)
        note = tally.note
        if not self._judges_decisions and name in ("truncation", "window", "future", "past"):
            note = "columns only: decide is not a function of its inputs"
        if tally.first is None:
            return Probe(name, tally.bars, 0, "pass", note=note)
        bar, unlike = tally.first
        time = iso_time(self._market.close_time(bar))
        first = Difference(bar, time, unlike.field, unlike.expected, unlike.found)
        return Probe(name, tally.bars, len(tally.differing), "fail", first, note)


def _given(recording: Recording, bar: int) -> Given:
    given = recording.given[bar]
    if given is None:  # bars to check are chosen among those with a record
        raise AssertionError(f"bar {bar} was never decided")
    return given


def _unlike_outcomes(expected: str | None, found: str | None) -> Unlike | None:
    return None if expected == found else Unlike(*first_unlike(expected, found))
