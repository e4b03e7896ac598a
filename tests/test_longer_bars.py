"""Bars of longer timeframes that are asked for apart: the same decisions, from a fraction of the bars."""

from __future__ import annotations

import re

import numpy as np
import pytest
from parity import backtest_of, cycles_of, instruments_of
from venue.clock import VirtualClock

from trading_runtime.core.bars import Bars, resample
from trading_runtime.core.columns import P, indicator
from trading_runtime.core.decision import Identity
from trading_runtime.core.errors import DataError, StrategyError
from trading_runtime.core.gates import Caps, Guards
from trading_runtime.core.intents import target
from trading_runtime.core.parameters import Parameters, parameter
from trading_runtime.core.slot import SlotInputs, decide_slot, slot_inputs_from_json
from trading_runtime.core.state import State
from trading_runtime.core.strategy import Inputs, Permissions, Proposal, Strategy
from trading_runtime.core.timeframes import DAY_MS, HOUR_MS, iso_time
from trading_runtime.cycle.bars import cut_at, gather_all, is_warm, longer_of, needs_of, plain
from trading_runtime.cycle.compare_live import compare_session
from trading_runtime.cycle.recorded import read_session
from trading_runtime.cycle.replay import replay_session
from trading_runtime.exchanges.file_feed import FileFeed
from trading_runtime.stores.journal import Journal
from trading_runtime.stores.memory import MemoryDocuments

START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
DAYS = 80


class DailyTrend(Strategy):
    """Holds what stands above its average of many days: one declared window of 1,463 hours."""

    class Params(Parameters):
        days = parameter(60, minimum=2, maximum=400, step=1)

    average = indicator("sma", "close", length=P.days, timeframe="1d", universe=True)
    volume = indicator("sma", "volume", length=20, timeframe="1d", universe=True)
    fast = indicator("sma", "close", length=3, universe=True)

    def decide(self, inputs: Inputs) -> Proposal | None:
        held: dict[str, float] = inputs.state.get("weights", {})
        weights = {
            symbol: 0.4 if fast > average and volume > 0.0 else 0.0
            for symbol, fast, average, volume in zip(
                inputs.symbols, inputs.fast, inputs.average, inputs.volume, strict=True
            )
        }
        changed = [target(symbol, weight) for symbol, weight in weights.items() if weight != held.get(symbol, 0.0)]
        return Proposal(changed, state={"weights": weights}) if changed else None


class Mixed(Strategy):
    """Reads a day's average over the last ten hours: the shorter bars must make the longer ones."""

    smooth = indicator("sma", indicator("sma", "close", length=60, timeframe="1d"), length=10)


def hourly(symbol: str, seed: int, days: int = DAYS) -> Bars:
    random = np.random.default_rng(seed)
    count = days * 24
    close = np.round(100.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, count))), 4)
    opened = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    times = START_MS + np.arange(count, dtype=np.int64) * HOUR_MS
    return Bars(symbol, "1h", times, opened, high, low, close, np.round(random.uniform(1.0, 9.0, count), 3))


@pytest.fixture(scope="module")
def bars() -> dict[str, Bars]:
    return {"BTC/USDT": hourly("BTC/USDT", 1), "ETH/USDT": hourly("ETH/USDT", 2)}


def test_a_strategy_of_many_days_asks_for_days(bars: dict[str, Bars]) -> None:
    strategy = DailyTrend()
    assert strategy.bars_needed(HOUR_MS) == 60 * 24 + 23
    assert needs_of(strategy, HOUR_MS) == (3, {"1d": 60})
    assert needs_of(DailyTrend({"days": 5}), HOUR_MS) == (20 * 24 + 23, {})
    assert needs_of(Mixed(), HOUR_MS) == (Mixed().bars_needed(HOUR_MS), {})


def test_cycles_that_ask_for_days_decide_as_the_backtest_that_makes_them(bars: dict[str, Bars]) -> None:
    backtest, cycles = backtest_of(DailyTrend(), bars), cycles_of(DailyTrend, bars, 400)
    assert backtest.decisions, "the strategy never traded"
    assert cycles.decisions == backtest.decisions
    assert cycles.fills == backtest.fills
    assert cycles.ledger == backtest.ledger


def inputs_at(bars: dict[str, Bars], slot: int) -> SlotInputs:
    feed = FileFeed(list(bars.values()))
    needs = needs_of(DailyTrend(), HOUR_MS)
    found = gather_all(feed, VirtualClock(slot), tuple(bars), "1h", needs, [slot])
    cut = cut_at(found, needs, slot)
    assert is_warm(cut, tuple(bars), needs)
    return SlotInputs(
        slot, plain(cut), State(10**12), instruments_of(bars), Identity("main", "DailyTrend"), Permissions(), Caps(),
        Guards(), longer=longer_of(cut),
    )  # fmt: skip


def test_a_decision_depends_on_the_declared_days_alone(bars: dict[str, Bars]) -> None:
    wanted = 0
    for hours in range(0, 200, 7):
        slot = START_MS + 70 * DAY_MS + hours * HOUR_MS
        given = inputs_at(bars, slot)
        assert [len(one) for one in given.longer["1d"].values()] == [60, 60]
        assert [len(one) for one in given.bars.values()] == [3, 3]
        whole = {symbol: one.slice(0, 70 * 24 + hours) for symbol, one in bars.items()}
        made = given._replace(bars=whole, longer={})
        ours, theirs = decide_slot(DailyTrend(), given), decide_slot(DailyTrend(), made)
        assert [one.to_json() for one in ours.orders] == [one.to_json() for one in theirs.orders]
        wanted += len(ours.orders)
    assert wanted


def test_what_was_asked_for_is_recorded_and_told_from_other_bars(bars: dict[str, Bars]) -> None:
    given = inputs_at(bars, START_MS + 70 * DAY_MS)
    content = given.to_json()
    back = slot_inputs_from_json(content, given.bars, given.longer)
    assert decide_slot(DailyTrend(), back) == decide_slot(DailyTrend(), given)
    other = {"1d": {symbol: resample(one, "1d").slice(1, 61) for symbol, one in bars.items()}}
    for longer in (None, other):
        with pytest.raises(StrategyError, match="longer timeframes are not the recorded ones"):
            slot_inputs_from_json(content, given.bars, longer)


def test_a_recorded_session_replays_and_is_compared_with_the_backtest_of_its_files(bars: dict[str, Bars]) -> None:
    documents = MemoryDocuments()
    cycles_of(DailyTrend, bars, 400, documents)
    journal = Journal(documents, "main", "DailyTrend")
    recorded = read_session(journal, journal.sessions()[0])
    assert replay_session(recorded, DailyTrend()).is_same
    comparison = compare_session(recorded, DailyTrend(), data=bars)
    assert comparison.decisions >= 400
    assert comparison.differing == []
    expected = r"needs every bar of 1h .* bars of 1d that were asked for apart; missing: "
    with pytest.raises(DataError, match=expected) as told:
        compare_session(recorded, DailyTrend())
    assert "\n" not in str(told.value)
    last = iso_time(recorded.decisions()[-1].slot)
    for symbol in bars:  # every file with its span, not the first that is missing
        assert re.search(rf"{symbol.replace('/', '-')}-1h from 20\S+Z to {last}", str(told.value)), symbol
    for symbol in bars:
        with pytest.raises(DataError, match=f"missing: {symbol.replace('/', '-')}-1h from [^;]*$"):
            compare_session(recorded, DailyTrend(), data={other: one for other, one in bars.items() if other != symbol})


def test_a_symbol_that_is_too_young_is_unknown_and_the_rest_decides(bars: dict[str, Bars]) -> None:
    slot = START_MS + 70 * DAY_MS
    young = hourly("NEW/USDT", 3)
    both = {**bars, "NEW/USDT": young.slice(70 * 24 - 5, 70 * 24 + 40)}
    needs = needs_of(DailyTrend(), HOUR_MS)
    clock = VirtualClock(slot)
    found = gather_all(FileFeed(list(both.values())), clock, tuple(both), "1h", needs, [slot], frozenset(["NEW/USDT"]))
    assert "NEW/USDT" in found
    assert "NEW/USDT@1d" not in found
    cut = cut_at(found, needs, slot)
    assert is_warm(cut, tuple(both), needs)
    given = inputs_at(bars, slot)._replace(bars=plain(cut), longer=longer_of(cut), instruments=instruments_of(both))
    assert [one.symbol for one in decide_slot(DailyTrend(), given).intents if one.symbol == "NEW/USDT"] == []


def test_a_symbol_of_a_publication_without_bars_is_left_out(bars: dict[str, Bars]) -> None:
    slot = START_MS + 70 * DAY_MS
    both = {**bars, "OLD/USDT": hourly("OLD/USDT", 3, days=60)}
    needs = needs_of(DailyTrend(), HOUR_MS)
    found = gather_all(
        FileFeed(list(both.values())), VirtualClock(slot), tuple(both), "1h", needs, [slot], frozenset(["OLD/USDT"])
    )
    assert {one.split("@")[0] for one in found} == set(bars)
