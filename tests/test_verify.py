"""Verify catches every leak of the corpus and says which kind it is, and lets every clean strategy pass."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from market_samples import BTC, ETH, HOUR_MS, PERP, SOL, START_MS, make_account, make_market, random_bars

from trading_runtime.backtest.market import FundingRate, Market
from trading_runtime.cli import verify as command
from trading_runtime.cli.arguments import Parser, parse
from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.columns import Constant, custom, window
from trading_runtime.core.errors import BarsError, DataError, StrategyError
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.strategies.registry import find_strategy, strategies_in
from trading_runtime.verify import clock, memory
from trading_runtime.verify.certificate import Certificate, first_unlike
from trading_runtime.verify.cuts import Cutter
from trading_runtime.verify.probes import verify_strategy
from trading_runtime.verify.record import state_text
from trading_runtime.verify.sample import chosen_bars

FOLDER = Path(__file__).parent / "leaks"
PARTS = Path(__file__).parent / "data" / "parts"
LEAKS = sorted(path for path in FOLDER.glob("*.py") if path.name != "clean.py")


def loaded(path: Path, name: str | None = None) -> type[Strategy]:
    """The strategy of a file; the only one unless named."""
    found = re.findall(r"^class (\w+)\(Strategy\)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return find_strategy(f"{path}:{name or found[0]}")


def staggered(seed: int, rows: int = 260) -> Market:
    """Three symbols that begin at different times; one ends early and leaves the others alone."""
    return make_market(
        random_bars(seed, rows),
        random_bars(seed + 100, rows, symbol=ETH, start_ms=START_MS + 37 * HOUR_MS, price=50.0),
        random_bars(seed + 200, rows // 3, symbol=SOL, start_ms=START_MS + 11 * HOUR_MS, price=20.0),
    )


def separated(seed: int) -> Market:
    """One symbol that ends before the other begins, with bars of the clock between that nobody has."""
    return make_market(
        random_bars(seed, 120), random_bars(seed + 1, 150, symbol=ETH, start_ms=START_MS + 141 * HOUR_MS)
    )


def perpetual(seed: int, rows: int = 260) -> Market:
    """A perpetual with funding, fees and slow, costly fills."""
    rates = [FundingRate(START_MS + hours * HOUR_MS, 0.0003) for hours in range(8, rows, 8)]
    return make_market(
        random_bars(seed, rows, symbol=PERP),
        funding={PERP: rates},
        execution={"slippage_fraction": 0.001, "latency_bars": 1},
        taker_fee_rate=0.0005,
    )


def proof(strategy: Strategy, market: Market, **options: Any) -> Certificate:
    return verify_strategy(strategy, market, make_account(), **options)


# --- leaks ---


@pytest.mark.parametrize("path", LEAKS, ids=lambda path: path.stem)
def test_a_leak_is_caught_by_the_probe_that_names_it(path: Path) -> None:
    """Every file of the corpus fails, at least in the probe it names and never in one it rules out."""
    kind = loaded(path)
    module = sys.modules[kind.__module__]
    seed = 3
    market = staggered(seed) if path.stem == "leader_tomorrow" else make_market(random_bars(seed, 260))
    certificate = proof(kind(), market)
    failed = certificate.failed()
    assert module.CAUGHT_BY in failed, f"seed {seed}: {failed}"
    assert not set(getattr(module, "SPARED", ())) & set(failed), f"seed {seed}: {failed}"
    assert not certificate.passed
    first = certificate.probe(module.CAUGHT_BY).first
    assert first is not None
    assert first.field
    assert first.to_json()["expected"] != first.to_json()["found"]


def test_every_kind_of_probe_has_a_leak_of_its_own() -> None:
    """The corpus exercises every probe but truncation, which every look ahead fails beside future."""
    kinds = {re.search(r'^CAUGHT_BY = "(\w+)"', path.read_text(), re.MULTILINE)[1] for path in LEAKS}
    assert kinds == {"memory", "repeat", "window", "future", "past", "wake", "targets", "purity"}


@pytest.mark.parametrize("name", ["rare_peek", "future_shift", "endless_ema", "wake_misses"])
def test_a_sample_of_bars_catches_leaks_too(name: str) -> None:
    """One bar in eight is enough for a leak that shows on most bars."""
    kind = loaded(FOLDER / f"{name}.py")
    certificate = proof(kind(), make_market(random_bars(8, 300)), bars=40, seed=5)
    assert sys.modules[kind.__module__].CAUGHT_BY in certificate.failed()
    assert certificate.bars_checked < certificate.bars


def test_a_peek_that_never_came_true_in_the_data_is_caught() -> None:
    """The real bars never rise enough to trigger the peek, so no decision ever showed it; the random ones do."""
    calm = random_bars(1, 200, gaps=0.0, zero_volume=0.0)
    assert not np.any(calm.high[1:] > calm.close[:-1] * 1.08)
    certificate = proof(loaded(FOLDER / "rare_peek.py")(), make_market(calm))
    assert certificate.failed() == ["future"]
    assert certificate.bars_acting == 0


@pytest.mark.parametrize("ahead", [1, 2, 7, 63, 64, 65, 100, 150])
def test_a_peek_is_caught_however_far_it_goes(ahead: int) -> None:
    """A column that reads a bar far ahead, and holds its own value where there is none, fails future."""

    def far_ahead(close: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.concatenate([close[ahead:], close[max(len(close) - ahead, 0) :]])

    class Far(_Idle):
        far = custom(far_ahead, window=1)

    assert "future" in proof(Far(), make_market(random_bars(7, 220))).failed()


@pytest.mark.parametrize("needed", [2, 3, 10, 60, 200])
def test_one_bar_too_few_is_caught(needed: int) -> None:
    """A column that needs one bar more than it declares fails past and window, and nothing that looks ahead."""

    def oldest_of(close: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.concatenate([close[: needed - 1], close[: len(close) - needed + 1]])[: len(close)]

    class Short(_Idle):
        oldest = custom(oldest_of, window=needed - 1)

    class Enough(_Idle):
        oldest = custom(oldest_of, window=needed)

    market = make_market(random_bars(9, 240))
    assert set(proof(Short(), market).failed()) == {"past", "window"}
    assert proof(Enough(), market).passed


def test_the_first_difference_is_the_earliest_one() -> None:
    """Bars are asked about in random order; what is reported is the first in time."""

    def seen(close: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.where(close > 100.0, np.append(close[1:], 0.0), close)

    market = make_market(random_bars(4, 150, zero_volume=0.0))
    certificate = proof(type("Peeking", (_Idle,), {"seen": custom(seen, window=1)})(), market)
    close = market.close[0]
    expected = next(bar for bar in range(len(close)) if close[bar] > 100.0)
    first = certificate.probe("window").first
    assert first is not None
    assert first.bar == expected
    assert first.expected == (close[expected + 1] if expected + 1 < len(close) else 0.0)


class _Idle(Strategy):
    """Never does anything."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        return None


# --- clean strategies ---

CLEAN = strategies_in(sys.modules[loaded(FOLDER / "clean.py", "Ladder").__module__])


@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_strategy_passes(name: str, seed: int) -> None:
    """Nothing is reported about strategies that only look suspicious, on single and staggered symbols."""
    kind = loaded(FOLDER / "clean.py", name)
    for market in (make_market(random_bars(seed, 220)), staggered(seed, 170)):
        certificate = proof(kind(), market, seed=seed)
        assert certificate.passed, f"seed {seed}, {market.symbols}: {certificate.failed()} {certificate.to_json()}"


@pytest.mark.parametrize("name", [name for name in CLEAN if name != "FollowsLeader"])
def test_a_clean_strategy_passes_on_perpetuals_and_on_symbols_with_a_gap_between_them(name: str) -> None:
    """Funding, latency, short positions, and bars of the clock on which nothing has a bar raise no alarm."""
    kind = loaded(FOLDER / "clean.py", name)
    for market in (perpetual(21, 180), separated(22)):
        certificate = proof(kind(), market)
        assert certificate.passed, f"{market.symbols}: {certificate.failed()} {certificate.to_json()}"


REGISTERED: Sequence[tuple[str, dict[str, Any]]] = [
    ("buy_and_hold", {}),
    ("sma_cross", {}),
    ("sma_cross", {"fast": 5, "slow": 20, "weight": 0.5}),
    ("sma_cross", {"fast": 35, "slow": 20}),
    ("breakout", {"channel": 10, "atr": 5}),
    ("breakout", {"channel": 20, "atr": 14, "stop_atr": 0.5, "profit_atr": 1.0}),
    ("momentum_rotation", {"lookback": 24, "rebalance_hours": 5}),
    ("momentum_rotation", {"lookback": 48, "hold": 1, "rebalance_hours": 24}),
]


@pytest.mark.parametrize(("name", "parameters"), REGISTERED)
def test_the_examples_pass(name: str, parameters: dict[str, Any]) -> None:
    """The strategies that come with the project are proven clean, with several parameters, on several markets."""
    for seed, market in ((31, make_market(random_bars(31, 260))), (32, staggered(32, 200)), (33, separated(33))):
        certificate = proof(find_strategy(name)(parameters), market, seed=seed)
        assert certificate.passed, f"seed {seed}, {market.symbols}: {certificate.to_json()}"
        assert certificate.bars_checked == certificate.bars > 0


def test_the_examples_pass_on_stored_candles() -> None:
    """A sample of two years of hourly bars: all symbols, all examples."""
    from trading_runtime.data.files import load_bars

    paths = [PARTS / f"{symbol}-USDT-1h.parquet" for symbol in ("BTC", "ETH", "SOL")]
    if not all(path.exists() for path in paths):
        pytest.skip("the data of the tests is not there")
    market = make_market(*(load_bars(path).bars.slice(0, 4000) for path in paths))
    for name in ("buy_and_hold", "sma_cross", "breakout", "momentum_rotation"):
        certificate = proof(find_strategy(name)(), market, bars=120, seed=1)
        assert certificate.passed, certificate.to_json()


# --- the parts ---


@pytest.mark.parametrize("seed", range(4))
def test_cuts_are_valid_bars_that_agree_with_the_market_inside(seed: int) -> None:
    """What a cut holds passes every check of Bars, equals the market within the window, and nothing outside."""
    market = staggered(seed, 150)
    cutter = Cutter(market, 9, seed)
    random = Random(seed)
    for _ in range(60):
        bar = random.randrange(8, market.count)
        for past, future in ((False, False), (True, False), (False, True), (True, True)):
            cut = cutter.window(bar, past=past, future=future)
            assert cut.start_ms + cut.row * market.bar_ms == market.start_ms + bar * market.bar_ms
            for index, (symbol, bars) in enumerate(cut.bars.items()):
                checked = Bars(symbol, bars.timeframe, bars.open_time, *(getattr(bars, name) for name in FIELDS))
                whole = market.bars[symbol]
                common, ours, theirs = np.intersect1d(bars.open_time, whole.open_time, return_indices=True)
                inside = (common > market.start_ms + (bar - 9) * market.bar_ms) & (
                    common <= market.start_ms + bar * market.bar_ms
                )
                assert np.array_equal(checked.close[ours][inside], whole.close[theirs][inside]), f"seed {seed}"
                assert not np.any(checked.close[ours][~inside] == whole.close[theirs][~inside]), f"seed {seed}"
                if symbol in cut.absent:
                    assert bars.open_time[-1] < cut.start_ms
                elif not future:
                    assert bars.open_time[-1] <= market.start_ms + bar * market.bar_ms
                assert all(getattr(bars, name).base is None for name in FIELDS), (index, past, future)


def test_a_prefix_holds_every_bar_up_to_its_end() -> None:
    """The prefix of a symbol that has not begun is empty; of one that has ended it is the whole of it."""
    market = staggered(5, 120)
    cut = Cutter(market, 9, 0).prefix(20)
    assert cut.absent == {ETH}
    assert len(cut.bars[BTC]) == 21
    assert len(cut.bars[SOL]) == 10
    assert len(Cutter(market, 9, 0).prefix(100).bars[SOL]) == 40


def test_the_sample_holds_the_bars_that_act() -> None:
    """All acting bars when they fit, a choice of them otherwise, and always others beside."""
    called = list(range(1000))
    few = chosen_bars(called, called[::50], 100, Random(1))
    assert set(called[::50]) <= set(few)
    assert len(few) == 100
    assert few == sorted(set(few))
    many = chosen_bars(called, called[:600], 100, Random(1))
    assert len(many) == 110
    assert sum(bar >= 600 for bar in many) == 10
    assert chosen_bars(called, [], 5000, Random(1)) == called
    assert many == chosen_bars(called, called[:600], 100, Random(1))


def test_the_moved_clock_is_put_back() -> None:
    """Inside, every clock is moved and dates are still dates; outside, nothing has changed."""
    import datetime
    import time

    before = (time.time, datetime.datetime, datetime.date)
    moved = clock.MovedClock()
    year = 370 * 86_400
    with moved.installed([sys.modules[__name__]]):
        now, today = time.time(), datetime.date.today()  # noqa: DTZ011 - the clock under test
        moved.seconds = year
        assert year - 5 < time.time() - now < year + 5
        assert time.gmtime().tm_year > today.year
        assert datetime.date.today().year > today.year  # noqa: DTZ011 - the clock under test
        assert datetime.datetime.now(datetime.UTC).year > today.year
        assert datetime.datetime.fromtimestamp(0, datetime.UTC).year == 1970
        assert isinstance(datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), datetime.datetime)
        assert type(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)) is before[1]
    assert (time.time, datetime.datetime, datetime.date) == before


def test_memory_is_named() -> None:
    """What changed is told by the name a person would look for."""

    class Keeper(_Idle):
        seen: dict[str, list[int]] = {}  # noqa: RUF012 - that is the point

        def decide(self, inputs: Any, kept: list[int] = []) -> None:  # noqa: B006 - that is the point
            kept.append(1)

    keeper = Keeper()
    before = memory.memory_of(keeper)
    keeper.decide(None)
    Keeper.seen["a"] = [1]
    keeper.extra = np.arange(3)
    names = memory.changed_names(before, memory.memory_of(keeper))
    place = "test_memory_is_named.<locals>.Keeper"
    assert names == ["self.extra", f"{place}.decide (defaults)", f"{place}.seen"]


@pytest.mark.parametrize(
    ("state", "flaw"),
    [
        ({}, ""),
        ({"a": [1, 2.5, None, "x", True], "b": {"c": {}}}, ""),
        ({"a": (1, 2)}, "changes when it is stored"),
        ({1: 2}, "changes when it is stored"),
        ({"a": float("nan")}, "not plain JSON"),
        ({"a": np.int64(1)}, "not plain JSON"),
        ({"a": {1, 2}}, "not plain JSON"),
        ({"a": np.float64(1.5)}, ""),
    ],
)
def test_state_must_survive_being_stored(state: Any, flaw: str) -> None:
    """State is JSON that reads back as what it was."""
    assert (flaw in state_text(state)[1]) if flaw else not state_text(state)[1]


def test_the_first_unlike_field_is_named() -> None:
    """A difference is told by its path with both values."""
    one = json.dumps({"intents": [{"leg": "a", "price": 1.0}], "reasons": [], "state": {"x": {"y": 1}}})
    other = json.dumps({"intents": [{"leg": "a", "price": 2.0}], "reasons": [], "state": {"x": {"y": 1}}})
    third = json.dumps({"intents": [{"leg": "a", "price": 1.0}], "reasons": [], "state": {"x": {"y": 2}}})
    assert first_unlike(one, other) == ("intents[0].price", 1.0, 2.0)
    assert first_unlike(one, third) == ("state.x.y", 1, 2)
    assert first_unlike(None, one)[0] == "proposal"
    assert first_unlike(one, json.dumps({"raised": "ValueError: no"})) == (
        "decide",
        [{"leg": "a", "price": 1.0}],
        "raised ValueError: no",
    )
    longer = json.dumps({"intents": [{}, {}], "reasons": [], "state": None})
    assert first_unlike(json.dumps({"intents": [{}], "reasons": [], "state": None}), longer)[0] == "intents (count)"


# --- certificates ---


def test_a_certificate_is_the_same_every_time() -> None:
    """Two proofs of the same code, data and seed give the same bytes; another seed gives another sample."""
    market = make_market(random_bars(6, 200))
    first, second = (proof(find_strategy("sma_cross")(), market, bars=50, seed=4).to_bytes() for _ in range(2))
    assert first == second
    content = json.loads(first)
    assert content["verdict"] == "pass"
    assert content["schema_version"] == 1
    assert content["strategy"] == "trading_runtime.strategies.sma_cross:SmaCross"
    assert content["data"][0]["content_hash"] == market.bars[BTC].content_hash()
    assert re.fullmatch("[0-9a-f]{64}", content["code_hash"])
    leak = loaded(FOLDER / "future_shift.py")()
    assert proof(leak, market, bars=50, seed=4).to_bytes() == proof(leak, market, bars=50, seed=4).to_bytes()
    assert proof(leak, market, bars=50, seed=4).to_bytes() != proof(leak, market, bars=50, seed=5).to_bytes()


def test_too_few_bars_prove_nothing() -> None:
    """Data on which nothing could be decided is refused, not passed."""
    with pytest.raises(BarsError, match="needs 50 bars but there are 40"):
        proof(find_strategy("sma_cross")(), make_market(random_bars(1, 40)))


def test_a_strategy_that_fails_by_itself_is_told_so() -> None:
    """A peek beyond the last bar raises in an ordinary run already: the error names the bar."""

    class Beyond(_Idle):
        closes = window("close", 3)

        def decide(self, inputs: Inputs) -> Proposal | None:
            return Proposal() if inputs.closes.base[inputs.index + 1] < 0.0 else None

    with pytest.raises(StrategyError, match="decide at the close 2024-01-03T12:00:00Z raised IndexError"):
        proof(Beyond(), make_market(random_bars(2, 60)))


def test_columns_are_judged_where_no_decision_shows_it() -> None:
    """A strategy that never trades fails all the same when a column it declares looks ahead."""

    class Mirrored(_Idle):
        ahead = custom(lambda close: close[::-1].copy(), window=2)
        two = window("close", 2)

    certificate = proof(Mirrored(), make_market(random_bars(2, 60)))
    assert certificate.bars_acting == 0
    assert "future" in certificate.failed()


def test_a_wake_that_always_holds_passes() -> None:
    """A constant condition is a superset of everything."""

    class Eager(Strategy):
        wake = Constant(1.0)

        def decide(self, inputs: Inputs) -> Proposal | None:
            return None if inputs.position else Proposal([target(inputs.symbol, 0.5)])

    certificate = proof(Eager(), make_market(random_bars(2, 80)))
    assert certificate.passed
    assert certificate.probe("wake").bars == 80


# --- the command ---


def run_command(*words: str) -> int:
    parser = Parser(prog="trading-runtime")
    command.add_parser(parser.add_subparsers(dest="verb", metavar="COMMAND", required=True))
    arguments = parse(parser, ["verify", *words])
    code: int = arguments.handler(arguments)
    return code


def candle_file(folder: Path, seed: int = 9, rows: int = 160) -> Path:
    bars = random_bars(seed, rows, zero_volume=0.0)
    lines = ["open_time,open,high,low,close,volume"]
    rows_of = zip(bars.open_time.tolist(), *(getattr(bars, name).tolist() for name in FIELDS), strict=True)
    lines += [",".join(repr(value) for value in row) for row in rows_of]
    path = folder / "BTC-USDT-1h.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_command_passes_and_writes_a_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A clean strategy: exit 0, a table, and a certificate that says the same."""
    data, certificate = candle_file(tmp_path), tmp_path / "proofs" / "certificate.json"
    code = run_command(
        "sma_cross", "--data", str(data), "--symbol", BTC, "--timeframe", "1h", "--set", "slow=20", "--set", "fast=5",
        "--certificate", str(certificate), "--seed", "2",
    )  # fmt: skip
    output = capsys.readouterr()
    assert code == 0, output
    assert output.out.rstrip().endswith("verified")
    assert output.err == ""
    content = json.loads(certificate.read_bytes())
    assert content["verdict"] == "pass"
    assert content["seed"] == 2
    assert content["parameters"] == {"fast": 5, "slow": 20, "weight": 0.95}
    assert [path.name for path in certificate.parent.iterdir()] == ["certificate.json"]


def test_the_command_fails_with_the_first_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A leak: exit 3, the probe, the time, the column and both values."""
    data = candle_file(tmp_path)
    leak = f"{FOLDER / 'future_shift.py'}:FutureShift"
    assert run_command(leak, "--data", str(data), "--symbol", BTC, "--timeframe", "1h") == 3
    output = capsys.readouterr().out
    assert "future differs first at 2024-01-01T01:00:00Z in column tomorrow" in output
    assert re.search(r"expected +\d+\.\d+\n +found +\d+\.\d+", output)
    assert run_command(leak, "--data", str(data), "--symbol", BTC, "--sample", "20", "--json") == 3
    assert json.loads(capsys.readouterr().out)["verdict"] == "fail"


def test_the_command_takes_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Data, fees and filters of a configuration, the strategy and its parameters of the command line."""
    data = candle_file(tmp_path)
    config = tmp_path / "run.json"
    config.write_text(
        json.dumps(
            {
                "strategy": {"class": "buy_and_hold"},
                "data": [{"path": data.name, "symbol": BTC, "timeframe": "1h"}],
                "instrument": {"taker_fee_rate": 0.001},
            }
        )
    )
    code = run_command("sma_cross", "--config", str(config), "--set", "fast=5", "--set", "slow=20", "--all", "--json")
    content = json.loads(capsys.readouterr().out)
    assert code == 0
    assert content["parameters"]["fast"] == 5
    assert content["bars_checked"] == content["bars"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["sma_cross"], 77),
        (["sma_crss", "--data", "{data}", "--symbol", BTC], 77),
        (["sma_cross", "--data", "{data}", "--symbol", BTC, "--set", "fst=3"], 77),
        (["sma_cross", "--data", "{data}", "--symbol", BTC, "--symbol", ETH], 77),
        (["sma_cross", "--data", "{data}", "--config", "x.json"], 77),
        (["sma_cross", "--config", "nowhere.json"], 77),
        (["sma_cross", "--data", "{folder}/nowhere.csv"], 66),
        (["sma_cross", "--data", "{data}", "--symbol", BTC, "--set", "slow=200"], 66),
    ],
)
def test_what_is_wrong_with_data_or_settings_has_its_exit_code(tmp_path: Path, words: list[str], code: int) -> None:
    """Bad settings end in 77 and bad data in 66, in one line."""
    from trading_runtime.core.errors import TradingRuntimeError

    data = candle_file(tmp_path)
    given = [word.format(data=data, folder=tmp_path) for word in words]
    with pytest.raises(TradingRuntimeError) as caught:
        run_command(*given)
    assert caught.value.exit_code == code
    assert isinstance(caught.value, DataError) == (code == 66)
    assert "\n" not in str(caught.value)
