"""The live-pool strategy over five generated years, from files to results: all that happens is seen happening."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from live_pool_years import (
    BAR_MS,
    CRASH,
    HOLE_BARS,
    HOLE_FIRST,
    HOLED,
    LISTED,
    LISTED_LATE,
    RETIRED,
    RETIRED_IN,
    SILENT,
    write_world,
)

from trading_runtime.backtest.engine import run_general
from trading_runtime.backtest.market import Market
from trading_runtime.backtest.run import Run, run_backtest
from trading_runtime.cli.summary import summary
from trading_runtime.config.build import build_account, build_market, load_strategy
from trading_runtime.config.load import load_settings
from trading_runtime.core.bars import Bars, resample
from trading_runtime.core.decision import Identity
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.gates import Guards
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.slot import SlotInputs, decide_slot, decision_to_json
from trading_runtime.core.strategy import Inputs, Proposal
from trading_runtime.core.timeframes import DAY_MS, iso_time, parse_time
from trading_runtime.verify.probes import verify_strategy

Json = dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("years"))


@pytest.fixture(scope="module")
def run(world: Path) -> Run:
    return run_backtest(load_settings(world))


@pytest.fixture(scope="module")
def journal(run: Run) -> list[Json]:
    return [json.loads(line) for line in run.journal.splitlines()]


def decisions(journal: list[Json], first: str = "2020", last: str = "2030") -> list[Json]:
    return [one for one in journal if one["kind"] == "decision" and first <= one["time"] < last]


def legs(found: list[Json]) -> Counter[str]:
    return Counter(intent["leg"] for one in found for intent in one["intents"])


def gates(found: list[Json]) -> Counter[str]:
    return Counter(refusal["gate"] for one in found for refusal in one["refusals"])


def test_a_symbol_that_leaves_the_pool_while_held_is_sold_and_never_bought_again_until_it_is_back(
    run: Run, journal: list[Json]
) -> None:
    symbol = f"{RETIRED}/USDT"
    changed = f"{RETIRED_IN[0]}-{RETIRED_IN[1]:02d}-01T12:00:00Z"
    (change,) = [one for one in run.result["artifact"]["changes"] if one["time"] == changed]
    assert symbol not in change["symbols"]
    (decision,) = [one for one in decisions(journal) if one["time"] == changed]
    assert decision["facts"]["pool"]["retired"] == [symbol]
    (sold,) = [one for one in decision["intents"] if one["symbol"] == symbol]
    assert (sold["leg"], sold["reason"]) == ("trend_sell", "rotated_out")
    following = [one["time"] for one in run.result["artifact"]["changes"] if one["time"] > changed]
    back = next(
        (
            one["time"]
            for one in run.result["artifact"]["changes"]
            if one["time"] > changed and symbol in one["symbols"]
        ),
        following[-1],
    )
    between = decisions(journal, changed, back)
    assert not [
        one for each in between for one in each["intents"] if (one["symbol"], one["leg"]) == (symbol, "trend_buy")
    ]
    assert [one for one in journal if one["kind"] == "fill" and one["time"] == changed and one["symbol"] == symbol]


def test_every_entry_is_of_a_symbol_in_the_pool_of_that_moment(run: Run, journal: list[Json]) -> None:
    """Point in time: the pool of a decision is the newest publication known by then, in upstream's order."""
    changes = run.result["artifact"]["changes"]
    entered = 0
    for one in decisions(journal):
        known = [change for change in changes if change["in_force"] and change["time"] <= one["time"]]
        for intent in one["intents"]:
            if intent["leg"] == "trend_buy":
                assert intent["symbol"] in known[-1]["symbols"], one["time"]
                entered += 1
        if one.get("facts", {}).get("candidates"):
            named = [candidate["symbol"] for candidate in one["facts"]["candidates"]]
            assert named == known[-1]["symbols"], one["time"]
    assert entered > 100


def test_the_crash_trips_the_breaker_once_and_what_is_held_is_sold(journal: list[Json]) -> None:
    day = CRASH[:10]
    found = decisions(journal, day, iso_time(parse_time(day) + DAY_MS))
    tripped = [one for one in found if one.get("facts", {}).get("breaker", {}).get("tripped")]
    assert [one["time"] for one in tripped] == [iso_time(parse_time(CRASH) + BAR_MS)]
    assert tripped[0]["facts"]["breaker"]["profit_fraction"] <= -0.05
    assert legs(found)["breaker"] == legs(tripped)["breaker"] >= 1
    assert legs(found)["trend_buy"] == 0
    assert gates(found)["trend_buy_latched_breaker"] >= 2
    after = decisions(journal, iso_time(parse_time(day) + DAY_MS), iso_time(parse_time(day) + 120 * DAY_MS))
    assert gates(after[:6])["trend_buy_latched_breaker"] == 0
    assert legs(after)["trend_buy"] > 0


def test_nothing_is_entered_while_the_pool_is_stale_and_the_rest_goes_on(run: Run, journal: list[Json]) -> None:
    year, month = SILENT[0]
    newest = parse_time(f"{year}-{month - 1:02d}-01")
    stale, ended = iso_time(newest + 46 * DAY_MS), iso_time(newest + 91 * DAY_MS)
    fresh = f"{year}-{SILENT[-1][1] + 1:02d}-01T12:00:00Z"
    told = {one["time"]: one for one in run.result["artifact"]["changes"]}
    assert told[stale]["degraded"] is True
    assert told[ended]["in_force"] is False
    assert told[fresh]["degraded"] is False
    paused = decisions(journal, stale, ended)
    assert len(paused) == 6 * 45
    assert gates(paused)["trend_buy_paused_degraded_mode"] == len(paused)
    assert legs(paused)["trend_buy"] == 0
    assert legs(paused)["trend_sell"] > 0
    assert legs(paused)["dca_buy"] > 10
    nothing = decisions(journal, ended, fresh)
    assert gates(nothing)["trend_no_artifact"] == len(nothing) == 9
    assert legs(nothing)["trend_buy"] == 0
    assert gates(decisions(journal, fresh))["trend_buy_paused_degraded_mode"] == 0
    soon = iso_time(parse_time(fresh) + 60 * DAY_MS)
    assert legs(decisions(journal, fresh, soon))["trend_buy"] > 2


def test_the_late_listing_is_no_candidate_until_its_indicators_are_known(journal: list[Json]) -> None:
    symbol = f"{LISTED_LATE}/USDT"
    known = iso_time(parse_time(LISTED) + 200 * DAY_MS)
    judged = [
        (one["time"], candidate)
        for one in decisions(journal)
        for candidate in one.get("facts", {}).get("candidates", ())
        if candidate["symbol"] == symbol
    ]
    early = [reasons["reasons"] for time, reasons in judged if time < known]
    assert early
    assert all(any(reason.startswith("missing_") for reason in reasons) for reasons in early)
    assert any(candidate["selected"] for time, candidate in judged if time >= known)
    assert [one for one in journal if one["kind"] == "fill" and one["symbol"] == symbol]


def test_the_hole_in_the_candles_is_filled_told_and_never_traded_in(run: Run, journal: list[Json]) -> None:
    symbol = f"{HOLED}/USDT"
    (manifest,) = [one for one in run.result["data"] if one.get("symbol") == symbol]
    assert sum(repair["count"] for repair in manifest["repairs"]) == HOLE_BARS
    first, last = HOLE_FIRST, iso_time(parse_time(HOLE_FIRST) + HOLE_BARS * BAR_MS)
    fills = [one for one in journal if one["kind"] == "fill" and one["symbol"] == symbol]
    assert fills
    assert not [one for one in fills if first <= one["time"] < last]
    assert any(symbol in text and "below the required quality" in text for text in run.result["warnings"])


def test_the_sleeves_of_the_run_are_told_and_add_up(run: Run) -> None:
    sleeves = run.result["sleeves"]
    assert list(sleeves) == ["btc_core", "trend_rotation"]
    assert sleeves["btc_core"]["symbols"] == ["BTC/USDT"]
    change = int(run.tables.equity_units[-1]) - 10_000 * 10**8
    assert sum(round(one["net_profit"] * 10**8) for one in sleeves.values()) == change
    for one in sleeves.values():
        parts = one["realised"] + one["unrealised"] - one["fees"] - one["funding"]
        assert one["net_profit"] == pytest.approx(parts, abs=1e-6)
    assert sum(one["profit_share_fraction"] for one in sleeves.values()) == pytest.approx(1.0)
    turnover = run.result["metrics"]["turnover_per_year"]
    assert sum(one["turnover_per_year"] for one in sleeves.values()) == pytest.approx(turnover)
    text = summary(run)
    assert "trend_rotation" in text
    assert "trend: " in text
    assert "58 publications of pools" in text


def test_where_the_pools_came_from_is_in_the_result(run: Run, world: Path) -> None:
    artifact = run.result["artifact"]
    assert artifact["folder"] == "pools"
    assert artifact["files"] == sorted(path.name for path in (world.parent / "pools").iterdir())
    assert len(artifact["content_hash"]) == 64
    assert run.result["data"][-1] == {
        "kind": "artifact",
        "folder": "pools",
        "files": artifact["files"],
        "content_hash": artifact["content_hash"],
        "publications": 60,
    }


def test_another_process_with_another_hash_seed_gives_the_same_digest(run: Run, world: Path) -> None:
    """Without randomised hashes there; the tests' own process has them unless it is told otherwise."""
    seed = "0" if os.environ.get("PYTHONHASHSEED") != "0" else "1"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "trading_runtime", "backtest", "--config", str(world), "--json", "--no-report"),
            *("--out", str(world.parent / "out")),
        ],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == run.result["digest"]


def test_one_byte_of_one_pool_gives_another_digest(run: Run, tmp_path: Path) -> None:
    """Although it changes no decision: the result says exactly what it was made from."""
    path = write_world(tmp_path / "again")
    pool = tmp_path / "again" / "pools" / "2020-01-01.json"
    pool.write_text(pool.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    again = run_backtest(load_settings(path))
    assert again.result["digest"] != run.result["digest"]
    assert again.journal == run.journal
    changed, same = (
        {key: value for key, value in one.result["artifact"].items() if key != "content_hash"} for one in (again, run)
    )
    assert changed == same


def live_bars(market: Market, symbols: list[str], slot: int, base: int, daily: int) -> tuple[Any, Any]:
    """The bars that a live cycle would fetch: a few of the run's own and whole days beside them."""
    own: dict[str, Bars] = {}
    days: dict[str, Bars] = {}
    for symbol in symbols:
        known = market.bars[symbol].between(None, slot)
        own[symbol] = known.slice(max(len(known) - base, 0), len(known))
        whole = resample(known, "1d")
        days[symbol] = whole.slice(max(len(whole) - daily, 0), len(whole))
    return own, {"1d": days}


@pytest.mark.parametrize("with_days", [False, True], ids=["own bars alone", "days fetched apart"])
def test_a_live_slot_with_the_symbols_it_needs_decides_as_the_backtest_did(world: Path, with_days: bool) -> None:
    """From a cut of the same bars, the state of that moment and the publication in force, to the byte: intents, state,
    refusals and facts; with the core, the pool and what is held, and none of the run's other symbols.
    """
    loaded = load_settings(world)
    strategy = load_strategy(loaded.settings, loaded.folder)
    market, _ = build_market(loaded.settings, loaded.folder)
    account = build_account(loaded.settings, market)
    states: dict[int, Any] = {}
    kind = type(strategy)

    def decide(self: Any, inputs: Inputs) -> Proposal | None:
        states[inputs.index] = inputs._source._matching.state
        return kind.decide(self, inputs)

    trace = run_general(market, type(kind.__name__, (kind,), {"decide": decide})(), account)
    found = trace.decisions()
    wanting = [one for one in found if len(one.intents) > 1]
    base, longer = strategy.longer_bars_needed(market.bar_ms)
    needed = strategy.bars_needed(market.bar_ms)
    compared: Counter[str] = Counter()
    for entry in [*found[::1000], *wanting[::12]]:
        artifact = market.artifact_at(entry.bar)
        state = states[entry.bar]
        held = [symbol for symbol, position in state.positions.items() if position.quantity]
        named = dict.fromkeys(["BTC/USDT", *(artifact["symbols"] if artifact else ()), *sorted(held)])
        listed = [symbol for symbol in named if int(market.bars[symbol].open_time[0]) < entry.slot - 2 * DAY_MS]
        if with_days:
            bars, days = live_bars(market, listed, entry.slot, base, longer["1d"])
        else:
            bars, days = live_bars(market, listed, entry.slot, needed, 1)[0], None
        decision = decide_slot(
            strategy,
            SlotInputs(
                entry.slot,
                bars,
                state,
                {symbol: market.instruments[symbol] for symbol in market.symbols},
                Identity(account.name, kind.__qualname__),
                account.permissions,
                account.caps,
                Guards(),
                artifact,
                **({} if days is None else {"longer": days}),
            ),
        )
        told = decision_to_json(decision)
        assert canonical_json(told["intents"]) == canonical_json([one.to_json() for one in entry.intents])
        assert canonical_json(told["orders"]) == canonical_json([one.to_json() for one in entry.orders])
        assert told["refusals"] == [one.to_json() for one in entry.refusals]
        if entry.intents:
            assert canonical_json(told["facts"]) == canonical_json(dict(entry.facts))
        compared.update(intent.leg for intent in entry.intents)
    assert compared["trend_buy"] > 3
    assert compared["trend_sell"] > 3


def test_verify_proves_the_strategy_with_a_pool_history(world: Path) -> None:
    loaded = load_settings(world, ["period.end=2022-04-01"])
    market, _ = build_market(loaded.settings, loaded.folder)
    strategy = load_strategy(loaded.settings, loaded.folder)
    certificate = verify_strategy(strategy, market, build_account(loaded.settings, market), bars=3)
    assert certificate.passed, certificate.to_json()
    assert certificate.bars_acting > 100
    assert certificate.artifact is not None
    assert certificate.artifact["changes"] == 27


def settings_with(world: Path, tmp_path: Path, **changes: Any) -> Path:
    content = json.loads(world.read_text(encoding="utf-8"))
    for entry in content["data"]:
        entry["path"] = str(world.parent / entry["path"])
    content["artifact"] = {"folder": str(world.parent / "pools")}
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return path


def test_pools_that_name_symbols_without_candles_are_refused_with_their_names(world: Path, tmp_path: Path) -> None:
    data = json.loads(world.read_text(encoding="utf-8"))["data"]
    kept = [
        {**one, "path": str(world.parent / one["path"])}
        for one in data
        if not any(name in one["path"] for name in ("DOT", "XRP"))
    ]
    path = settings_with(world, tmp_path, data=kept)
    with pytest.raises(ConfigurationError) as refused:
        run_backtest(load_settings(path))
    message = str(refused.value)
    assert "DOT/USDT (in force from 2022-0" in message
    assert "XRP/USDT (in force from " in message
    assert "pools" in message
    assert "\n" not in message
    # A pool that was never in force in the period does not matter: DOT joins later.
    early = settings_with(world, tmp_path, data=[*kept, _path_of(world, "XRP")], period={"end": "2022-01-01"})
    market, _ = build_market(load_settings(early).settings, tmp_path)
    assert "DOT/USDT" not in market.symbols


def _path_of(world: Path, name: str) -> Json:
    return {"path": str(world.parent / "candles" / f"{name}.parquet")}


def test_a_folder_without_a_publication_in_the_period_is_refused(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    folder.mkdir()
    content = json.loads((world.parent / "pools" / "2022-06-01.json").read_text(encoding="utf-8"))
    later = {**content, "as_of_date": "2029-01-01", "version": "2029-01-01-core_major", "generated_at": None}
    (folder / "2029-01-01.json").write_text(json.dumps(later), encoding="utf-8")
    path = settings_with(world, tmp_path, artifact={"folder": str(folder)})
    with pytest.raises(ConfigurationError, match="none of its publications was in force from 2020-01-01"):
        run_backtest(load_settings(path))
    with pytest.raises(DataError, match="nowhere"):
        run_backtest(load_settings(settings_with(world, tmp_path, artifact={"folder": str(tmp_path / "nowhere")})))


def test_the_example_runs_on_a_fresh_clone(tmp_path: Path) -> None:
    """Its two commands, as its README gives them, on nothing but what the repository holds."""
    example = Path(__file__).parent.parent / "examples" / "live-pool"
    copy = tmp_path / "examples" / "live-pool"
    shutil.copytree(example, copy)
    commands = re.findall(
        r"^(sh|trading-runtime) (\S.*?)(?:  +#.*)?$", (example / "README.md").read_text(), re.MULTILINE
    )
    assert len(commands) == 2
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for program, words in commands:
        done = subprocess.run(
            [program, *words.split()],
            cwd=tmp_path,
            env={**os.environ, "PATH": programs},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    told = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    readme = (example / "README.md").read_text(encoding="utf-8")
    for row in ("sleeve", "btc_core", "trend_rotation", "all", "published"):
        assert told[row] in readme
    result = json.loads((tmp_path / "results" / "live-pool" / "result.json").read_text(encoding="utf-8"))
    assert set(result["sleeves"]) == {"btc_core", "trend_rotation"}
    assert (tmp_path / "results" / "live-pool" / "report.html").stat().st_size < 2_000_000
