"""Publications, facts, refusals by gate and sleeves of a backtest, on a small strategy that follows a pool."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser, find_browser
from hypothesis import given, settings
from hypothesis import strategies as some
from market_samples import (
    BTC,
    ETH,
    HOUR_MS,
    MONEY,
    PERP,
    SOL,
    START_MS,
    make_account,
    make_bars,
    make_instrument,
    make_market,
    random_bars,
    scripted,
)

from trading_runtime.backtest.engine import run_general
from trading_runtime.backtest.market import FundingRate, Market, Publication
from trading_runtime.backtest.result import build_tables
from trading_runtime.backtest.run import Run, finish, write_run
from trading_runtime.backtest.sleeves import UNNAMED, build_sleeves, sleeves_json
from trading_runtime.backtest.tables import SLEEVES_FILE, read_table
from trading_runtime.cli.summary import summary
from trading_runtime.core.columns import Constant, indicator
from trading_runtime.core.decision import Identity
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.fills import Execution
from trading_runtime.core.gates import Guards
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.intents import market as at_market
from trading_runtime.core.intents import target
from trading_runtime.core.refusals import Refusal
from trading_runtime.core.slot import SlotInputs, decide_slot, decision_to_json
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.cycle.bars import window as cut_window
from trading_runtime.verify.probes import verify_strategy


class FollowsPool(Strategy):
    """Holds what the pool names and is above its average, equally; BTC/USDT always a little."""

    average = indicator("sma", "close", length=12, universe=True)

    def decide(self, inputs: Inputs) -> Proposal | None:
        pool = inputs.artifact
        if pool is None:
            return Proposal(refusals=[Refusal("trend_no_artifact", "trend")])
        held = inputs.state.get("held", [])
        wanted: list[str] = []
        refusals: list[Refusal] = []
        for symbol in pool["symbols"]:
            average = dict(zip(inputs.symbols, inputs.average, strict=True)).get(symbol, float("nan"))
            if inputs.price_of(symbol) > average:
                wanted.append(symbol)
            else:
                refusals.append(Refusal("price_lte_average", "trend", symbol, "trend_buy", pool["version"]))
        if not pool["new_entries"]:
            wanted = [symbol for symbol in wanted if symbol in held]
            refusals.append(Refusal("paused", "safety"))
        facts = {
            "pool": pool["version"],
            "profit": [inputs.profit_of(symbol) for symbol in inputs.symbols],
            "lots": [inputs.lot_of(symbol) for symbol in inputs.symbols],
        }
        if wanted == held and inputs.state.get("version") == pool["version"]:
            return Proposal(refusals=refusals, facts=facts)
        intents = [target(symbol, 0.0, reason="left") for symbol in held if symbol not in wanted]
        intents += [target(symbol, 0.3, reason="pool") for symbol in wanted]
        if not held:
            intents.append(target(inputs.symbol, 0.2, reason="core"))
        return Proposal(intents, {"held": wanted, "version": pool["version"]}, refusals=refusals, facts=facts)

    def sleeve_of(self, symbol: str) -> str:
        return "core" if symbol == BTC else "rotation"


class Woken(FollowsPool):
    """Declares that nothing in the columns ever makes it act: only what is published does."""

    wake = Constant(0.0) > indicator("sma", "close", length=1)


class HalfNamed(FollowsPool):
    def sleeve_of(self, symbol: str) -> str:
        return "core" if symbol == BTC else ""


class Unnamed(FollowsPool):
    def sleeve_of(self, symbol: str) -> str:
        return ""


class Careless(FollowsPool):
    """Changes what everybody reads."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        proposal = super().decide(inputs)
        if inputs.artifact is not None:
            inputs.artifact["symbols"].append(SOL)
        return proposal


def pool(version: str, *symbols: str, new_entries: bool = True) -> dict[str, Any]:
    return {"version": version, "symbols": list(symbols), "new_entries": new_entries, "degraded": not new_entries}


def at(hours: float, artifact: Any) -> Publication:
    return Publication(START_MS + int(hours * HOUR_MS), artifact)


def published(market: Market, *publications: Publication) -> Market:
    return Market(market.bars, market.instruments, market.execution, market.funding, publications)


def three(seed: int = 3, rows: int = 200, **rules: Any) -> Market:
    return make_market(
        random_bars(seed, rows),
        random_bars(seed + 1, rows, symbol=ETH, price=50.0),
        random_bars(seed + 2, rows - 40, symbol=SOL, price=20.0, start_ms=START_MS + 40 * HOUR_MS),
        taker_fee_rate=0.001,
        **rules,
    )


def months(market: Market) -> Market:
    return published(
        market,
        at(-500, pool("before", ETH)),
        at(60, pool("one", ETH, SOL)),
        at(100.5, pool("two", SOL)),
        at(130, None),
        at(150, pool("three", ETH, SOL, new_entries=False)),
        at(5_000, pool("never", ETH)),
    )


def finished(market: Market, strategy: Strategy, **account: Any) -> Run:
    chosen = make_account(**account)
    trace = run_general(market, strategy, chosen)
    return finish(market, strategy, chosen, trace, name="pool", manifests=[], config={}, config_hash="")


def seen_by(market: Market, strategy: type[Strategy] = Strategy) -> list[tuple[int, Any]]:
    """(bar, version) at every bar at which decide was called."""
    seen: list[tuple[int, Any]] = []

    def decide(self: Strategy, inputs: Inputs) -> None:
        seen.append((inputs.index, None if inputs.artifact is None else inputs.artifact["version"]))

    run_general(market, type("Seen", (strategy,), {"decide": decide})(), make_account())
    return seen


def test_a_publication_is_in_force_from_the_first_close_at_or_after_its_time() -> None:
    """Point in time: a bar that closes before the publication never sees it, the one that closes with it does."""
    market = months(three())
    expected = []
    for bar in range(market.count):
        close = market.close_time(bar)
        known = [one for one in market.publications if one.time_ms <= close]
        expected.append((bar, None if not known or known[-1].artifact is None else known[-1].artifact["version"]))
    assert seen_by(market) == expected
    assert [market.artifact_at(bar) and market.artifact_at(bar)["version"] for bar, _ in expected] == [
        version for _, version in expected
    ]
    changes = [bar for bar, (one, other) in enumerate(itertools.pairwise(expected)) if one[1] != other[1]]
    assert [bar + 1 for bar in changes] == [59, 100, 129, 149]


@settings(max_examples=50, deadline=None)
@given(some.lists(some.integers(-5 * 3600, 45 * 3600), unique=True, max_size=12), some.integers(0, 2**16))
def test_any_timeline_is_seen_as_a_look_up_by_time_sees_it(seconds: list[int], seed: int) -> None:
    market = make_market(random_bars(seed, 40))
    publications = [
        Publication(START_MS + second * 1000, None if second % 5 == 0 else pool(str(second % 7)))
        for second in sorted(seconds)
    ]
    expected = []
    for bar in range(market.count):
        known = [one.artifact for one in publications if one.time_ms <= market.close_time(bar)]
        expected.append((bar, known[-1]["version"] if known and known[-1] is not None else None))
    assert seen_by(published(market, *publications)) == expected


def test_another_publication_wakes_a_strategy_and_the_same_one_again_does_not() -> None:
    market = three()
    again = published(
        market, at(-500, pool("a")), at(60, pool("b")), at(61, pool("b")), at(90.5, pool("c")), at(99, None)
    )
    first = Woken().bars_needed(HOUR_MS) - 1
    assert seen_by(again, Woken) == [(first, "a"), (59, "b"), (90, "c"), (98, None)]
    assert seen_by(market, Woken) == []


def test_publications_that_do_not_ascend_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^publications must ascend in time: 2024-01-01T02"):
        published(three(), at(3, pool("a")), at(2, pool("b")))


def test_a_run_without_publications_has_the_same_bytes_as_ever() -> None:
    """The keys that publications and sleeves add are not there, and None is what the strategy sees."""
    market = three()
    run = finished(market, Unnamed())
    assert "artifact" not in run.result
    assert "sleeves" not in run.result
    assert run.sleeves is None
    assert all(entry.refusals == (Refusal("trend_no_artifact", "trend"),) for entry in run.trace.decisions())
    assert b'"facts"' not in run.journal


def test_a_publication_given_to_a_strategy_is_part_of_the_digest() -> None:
    """Even to one that never reads it, and even when only a word of it is another."""
    market = three()
    digests = [
        finished(one, Unnamed()).result["digest"]
        for one in (
            market,
            published(market, at(60, None)),
            published(market, at(60, pool("a", ETH))),
            published(market, at(60, {**pool("a", ETH), "source_project": "another"})),
            published(market, at(61, pool("a", ETH))),
        )
    ]
    assert len(set(digests)) == 5
    assert finished(published(market, at(60, pool("a", ETH))), Unnamed()).result["digest"] == digests[2]


def test_the_journal_keeps_refusals_always_and_facts_where_something_was_wanted() -> None:
    run = finished(months(three()), FollowsPool())
    decisions = [json.loads(line) for line in run.journal.splitlines() if b'"kind":"decision"' in line]
    assert any(one["intents"] for one in decisions)
    assert any(not one["intents"] for one in decisions)
    for one in decisions:
        assert bool(one["intents"]) == ("facts" in one)
    assert {one["facts"]["pool"] for one in decisions if one["intents"]} == {"before", "one", "two", "three"}
    by_category: dict[str, dict[str, int]] = {}
    for one in decisions:
        for refusal in one["refusals"]:
            gates = by_category.setdefault(refusal["category"], {})
            gates[refusal["gate"]] = gates.get(refusal["gate"], 0) + 1
    assert by_category == run.result["refusals_by_category"]
    assert set(by_category) == {"trend", "safety"}
    assert set(by_category["trend"]) == {
        "price_lte_average",
        "trend_no_artifact",
    }
    assert run.result["refusals"] == {gate: times for gates in by_category.values() for gate, times in gates.items()}
    text = summary(run)
    assert f"trend: price_lte_average {by_category['trend']['price_lte_average']}" in text
    assert "safety: paused" in text


def test_equal_refusals_of_a_run_are_one_object() -> None:
    """Hour after hour the same gate says the same: memory is bounded by what is different."""
    trace = run_general(months(three()), FollowsPool(), make_account())
    refusals = [refusal for entry in trace.decisions() for refusal in entry.refusals]
    assert len(refusals) > 3 * len(set(refusals))
    assert len({id(refusal) for refusal in refusals}) == len(set(refusals))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_slot_is_decided_live_as_the_backtest_decided_it(seed: int) -> None:
    """From the declared bars alone, the state of that moment and the publication in force, to the byte."""
    market = months(three(seed))
    account = make_account()
    states: dict[int, Any] = {}

    class Recorded(FollowsPool):
        def decide(self, inputs: Inputs) -> Proposal | None:
            states[inputs.index] = inputs._source._matching.state
            return super().decide(inputs)

    strategy = Recorded()
    trace = run_general(market, strategy, account)
    count = strategy.bars_needed(HOUR_MS)
    compared = 0
    for entry in trace.decisions():
        cut = cut_window(market.bars, count, entry.slot)
        present = {symbol: cut[symbol] for symbol in market.bars if symbol in cut}
        if set(present) != set(market.bars):
            continue  # the late listing has no bars yet: a live cycle would not name it among its symbols
        decision = decide_slot(
            FollowsPool(),
            SlotInputs(
                entry.slot,
                present,
                states[entry.bar],
                market.instruments,
                Identity(account.name, "test_a_slot"),
                account.permissions,
                account.caps,
                Guards(),
                market.artifact_at(entry.bar),
            ),
        )
        told = decision_to_json(decision)
        assert canonical_json(told["intents"]) == canonical_json([one.to_json() for one in entry.intents])
        assert told["refusals"] == [one.to_json() for one in entry.refusals]
        assert [one["quantity"] for one in told["orders"]] == [order.quantity for order in entry.orders]
        if entry.intents:
            assert canonical_json(told["facts"]) == canonical_json(dict(entry.facts))
        compared += 1
    assert compared > 100


def test_verify_hands_over_what_was_published() -> None:
    """Profits, lots and publications are told again exactly, so the proof passes; changing a publication fails it."""
    market = months(three(rows=170))
    certificate = verify_strategy(FollowsPool(), market, make_account(), bars=60)
    assert certificate.passed, certificate.failed()
    assert certificate.bars_acting > 5
    assert certificate.to_json()["artifact"]["changes"] == 5
    assert "artifact" not in verify_strategy(FollowsPool(), three(rows=100), make_account(), bars=10).to_json()
    assert verify_strategy(Woken(), months(three(rows=170)), make_account(), bars=60).failed() == ["wake"]
    careless = verify_strategy(Careless(), market, make_account(), bars=60)
    assert "purity" in careless.failed()
    first = careless.probe("purity").first
    assert first is not None
    assert "inputs.artifact" in first.found


def random_market(seed: int) -> Market:
    """Spot and a perpetual with funding, fees, rebates, slippage and partial fills."""
    series = [
        random_bars(seed, 120),
        random_bars(seed + 1, 120, symbol=ETH, price=50.0),
        random_bars(seed + 2, 90, symbol=PERP, price=20.0, start_ms=START_MS + 10 * HOUR_MS),
    ]
    instruments = {
        one.symbol: make_instrument(one.symbol, maker_fee_rate=-0.0002, taker_fee_rate=0.0007) for one in series
    }
    rates = [FundingRate(START_MS + hours * HOUR_MS, 0.0003 * (-1) ** hours) for hours in range(16, 90, 7)]
    return Market(
        {one.symbol: one for one in series},
        instruments,
        Execution(slippage_fraction=0.0003, volume_fraction_max=0.3),
        {PERP: rates},
    )


class Wild(Strategy):
    """Wants another weight of another symbol at every second bar, from its state alone."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        draw = inputs.state.get("draw", inputs.as_of // HOUR_MS % 1_009 + 1) * 48_271 % 2_147_483_647
        symbol = inputs.symbols[draw % len(inputs.symbols)]
        weight = (draw // 7 % 9) / 10 - (0.4 if symbol == PERP else 0.0)
        price = inputs.price_of(symbol)
        wanted = [target(symbol, weight)] if price == price and draw % 2 else []
        return Proposal(wanted, {"draw": draw})

    def sleeve_of(self, symbol: str) -> str:
        return {BTC: "core", ETH: "trend", PERP: "trend"}[symbol]


@settings(max_examples=30, deadline=None)
@given(some.integers(0, 2**20))
def test_sleeves_add_up_to_the_whole_exactly(seed: int) -> None:
    """In integer units: at the end amount by amount, and the profit after every single bar."""
    market = random_market(seed)
    account = make_account(10_000.0)
    trace = run_general(market, Wild(), account)
    tables = build_tables(market, trace, account.start_cash)
    sleeves = build_sleeves(market, trace, tables, account.start_cash, Wild().sleeve_of)
    assert [one.name for one in sleeves] == ["core", "trend"]
    assert [one.symbols for one in sleeves] == [
        [BTC],
        [ETH, PERP],
    ]
    trades, fills = tables.trades, tables.fills
    assert sum(one.fees_units for one in sleeves) == int(fills.fee_units.sum())
    assert sum(one.funding_units for one in sleeves) == int(tables.funding.amount_units.sum())
    assert sum(one.realised_units for one in sleeves) == int(trades.realised_units.sum())
    assert sum(one.traded_units for one in sleeves) == int(fills.value_units.sum())
    assert sum(one.fills for one in sleeves) == len(fills)
    assert sum(one.trades + one.open_trades for one in sleeves) == len(trades)
    assert sum(one.orders for one in sleeves) == sum(len(entry.orders) for entry in trace.decisions())
    net = [one.realised_units + one.unrealised_units - one.fees_units - one.funding_units for one in sleeves]
    assert net == [one.net_units for one in sleeves]
    assert sum(net) == int(tables.equity_units[-1]) - account.start_cash
    whole = sum(one.profit_units for one in sleeves)
    assert np.array_equal(np.asarray(whole), tables.equity_units - account.start_cash)
    told = sleeves_json(sleeves, fills.quote_unit, 3.0)
    assert sum(round(one["net_profit"] * MONEY) for one in told.values()) == sum(net)


def test_the_figures_of_sleeves_are_what_a_hand_computes() -> None:
    """Buy one ETH at 100 with a fee of 1, it falls to 80 and rises to 120, sold at 110: profit after every close."""
    flat = (100.0, 100.0, 100.0, 100.0)
    eth = [flat, flat, (100.0, 100.0, 80.0, 80.0), (80.0, 120.0, 80.0, 120.0), (110.0, 110.0, 110.0, 110.0)]
    market = make_market(make_bars([flat] * 5), make_bars(eth, symbol=ETH), taker_fee_rate=0.01)
    plan = {0: [at_market(ETH, "buy", quantity=1.0)], 3: [at_market(ETH, "sell", quantity=1.0, leg="out")]}
    strategy = scripted(plan)
    account = make_account(1_000.0)
    trace = run_general(market, strategy, account)
    tables = build_tables(market, trace, account.start_cash)
    core, trend = build_sleeves(
        market, trace, tables, account.start_cash, lambda symbol: "core" if symbol == BTC else "t"
    )
    assert [units / MONEY for units in trend.profit_units.tolist()] == [0.0, -1.0, -21.0, 19.0, 7.9]
    assert (trend.realised_units, trend.unrealised_units, trend.fees_units) == (10 * MONEY, 0, 210_000_000)
    assert trend.drawdown_units == 21 * MONEY
    assert trend.bars_in_market == 3
    assert (trend.orders, trend.fills, trend.trades, trend.open_trades) == (2, 2, 1, 0)
    assert not core.profit_units.any()
    assert core.bars_in_market == 0
    assert core.orders == 0
    told = sleeves_json([core, trend], tables.fills.quote_unit, 42.0)["t"]
    assert told["net_profit"] == 7.9
    assert told["profit_share_fraction"] == 1.0
    assert told["turnover_per_year"] == 42.0
    assert told["time_in_market_fraction"] == 0.6
    assert told["maximum_drawdown"] == 21.0


def test_a_symbol_without_a_sleeve_stands_among_the_others_and_no_name_means_no_sleeves() -> None:
    market = months(three())
    half = finished(market, HalfNamed())
    assert list(half.result["sleeves"]) == ["core", UNNAMED]
    assert half.result["sleeves"][UNNAMED]["symbols"] == [ETH, SOL]
    assert "sleeves" not in finished(market, Unnamed()).result


def test_sleeves_stand_in_result_tables_summary_and_report(tmp_path: Path) -> None:
    run = finished(months(three()), FollowsPool())
    sleeves = run.result["sleeves"]
    assert list(sleeves) == ["core", "rotation"]
    profit = run.result["metrics"]["end_equity"] - run.result["metrics"]["start_equity"]
    assert sum(one["net_profit"] for one in sleeves.values()) == pytest.approx(
        profit, abs=1e-4
    )  # metrics have 12 digits
    write_run(run, tmp_path / "result", report=True)
    table = read_table(tmp_path / "result" / SLEEVES_FILE)
    assert list(table) == ["time_ms", "core", "rotation"]
    equity = read_table(tmp_path / "result" / "equity.parquet")
    whole = table["core"] + table["rotation"] + run.result["account"]["start_cash"]
    assert np.allclose(whole, equity["equity"], rtol=0, atol=1e-6)
    text = summary(run)
    rows = {line.split()[0]: line for line in text.splitlines() if line}
    assert "net profit USDT" in rows["sleeve"]
    assert f"{sleeves['core']['fees']:,.2f}" in rows["core"]
    assert "all" in rows
    assert "5 changes" in rows["published"]
    page = (tmp_path / "result" / "report.html").read_text(encoding="utf-8")
    assert 'id="sleeves"' in page
    assert 'id="plot-sleeves"' in page
    assert "rotation" in page
    assert "Publications" in page
    assert "nothing in force" in page
    assert "degraded" in page
    write_run(finished(three(), Unnamed()), tmp_path / "plain", report=True)
    plain = (tmp_path / "plain" / "report.html").read_text(encoding="utf-8")
    assert 'id="sleeves"' not in plain
    assert 'id="plot-sleeves"' not in plain
    assert not (tmp_path / "plain" / SLEEVES_FILE).exists()


@pytest.mark.parametrize("width", [1280, 380])
def test_the_page_draws_one_line_for_each_sleeve(tmp_path: Path, width: int) -> None:
    program = find_browser()
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is not installed: the report was not looked at")
        pytest.skip("Chromium is not installed")
    run = finished(months(three()), FollowsPool())
    write_run(run, tmp_path / "result", report=True)
    with Browser(program, tmp_path / "profile") as browser:
        browser.open(tmp_path / "result" / "report.html", width=width, height=900)
        told = browser.evaluate("({...document.documentElement.dataset})")
        assert browser.problems == []
        assert (told["ready"], told["overflow"], told["charts"]) == ("yes", "0", "5")
        legend = browser.evaluate("document.getElementById('legend-sleeves').textContent")
    for name, figures in run.result["sleeves"].items():
        assert f"{name} {figures['net_profit']:,.0f}".replace("-", "\N{MINUS SIGN}")[:-1] in legend
