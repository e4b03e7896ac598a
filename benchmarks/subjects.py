"""The runtime's own paths on the benchmark's work, and the peers' where they are installed (``pip install backtesting
vectorbt``).
"""

from __future__ import annotations

import importlib.util
import os
from decimal import Decimal

from benchmarks import reference
from benchmarks.measure import Subject
from trading_runtime.backtest.engine import Account, run_general
from trading_runtime.backtest.market import Market
from trading_runtime.backtest.metrics import compute_metrics
from trading_runtime.backtest.result import build_tables
from trading_runtime.backtest.trace import Trace
from trading_runtime.core.bars import Bars
from trading_runtime.core.columns import P, indicator
from trading_runtime.core.instruments import Instrument, make_rules
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.strategies.sma_cross import SmaCross

UNIT = Decimal("0.00000001")
START_CASH = int(reference.START_CASH) * 10**8
FASTS = range(5, 55, 5)
SLOWS = range(20, 220, 20)


class EveryBar(Strategy):
    """The same rule as an ordinary strategy: ``decide`` is called on every bar and keeps what it wants in its state."""

    Params = SmaCross.Params
    fast = indicator("sma", "close", length=P.fast)
    slow = indicator("sma", "close", length=P.slow)

    def decide(self, inputs: Inputs) -> Proposal | None:
        held = inputs.state.get("weight", 0.0)
        fast, slow = inputs.fast, inputs.slow
        weight = self.params.weight if fast > slow else 0.0 if fast < slow else held
        if weight == held:
            return None
        return Proposal([target(inputs.symbol, weight, reason="cross")], state={"weight": weight})


def market_of(bars: Bars) -> Market:
    """Return the benchmark's market: fractional quantities, 0.1 % fee, nothing else."""
    rules = make_rules(quantity_unit=UNIT, quote_unit=UNIT, taker_fee_rate=reference.FEE, maker_fee_rate=reference.FEE)
    instrument = Instrument(
        bars.symbol, "perpetual" if ":" in bars.symbol else "spot", "BTC", "USDT", UNIT, UNIT, (rules,)
    )
    return Market({bars.symbol: bars}, {bars.symbol: instrument})


def own_subjects(bars: Bars) -> list[Subject]:
    """Return the runtime's subjects, after checking that both paths and the reference agree."""
    from trading_runtime.backtest.batch import run_batch
    from trading_runtime.backtest.compiled import run_compiled

    market, account, count = market_of(bars), Account(START_CASH), len(bars)
    pairs = [{"fast": fast, "slow": slow} for fast in FASTS for slow in SLOWS if fast != slow]
    sets = [SmaCross(pair) for pair in pairs]
    every = [EveryBar(pair) for pair in pairs[:20]]
    cores = os.cpu_count() or 1
    single = EveryBar({"fast": 20, "slow": 50})
    targets = SmaCross({"fast": 20, "slow": 50})
    expected, fills = reference.run(bars.open.tolist(), bars.close.tolist())
    for run in (
        run_general(market, single, account),
        run_general(market, targets, account),
        run_compiled(market, targets, account),
    ):
        tables = build_tables(market, run, START_CASH)
        equity = float(tables.equity.equity[-1])
        if len(tables.fills) != fills or abs(equity / expected - 1.0) > 1e-4:
            raise SystemExit(
                f"the paths disagree with the reference: {equity} after {len(tables.fills)} fills, "
                f"not {expected} after {fills}"
            )
    many = [SmaCross({"fast": fast, "slow": slow}) for fast in range(2, 42) for slow in range(50, 200, 6)]
    trace = run_general(market, single, account)
    gated = [SmaCross(pair) for pair in pairs[:20]]
    return [
        Subject(
            "general path, decide on every bar", lambda: run_general(market, single, account), count, "bars", 1_500_000
        ),
        Subject(
            "tables and metrics of that run",
            lambda: _derive(market, account, trace),
            count,
            "bars",
        ),
        Subject("general path, targets (gated)", lambda: run_general(market, targets, account), count, "bars"),
        Subject(
            "compiled path, one run, its statistics",
            lambda: run_batch(market, [targets], account)[0].metrics,
            count,
            "bars",
            20_000_000,
        ),
        Subject(
            "compiled path, one run, its whole trace", lambda: run_compiled(market, targets, account), count, "bars"
        ),
        Subject(
            f"batch of {len(sets)}, one thread", lambda: run_batch(market, sets, account), len(sets), "cells", 10_000
        ),
        Subject(
            f"batch of {len(sets)}, {cores} threads",
            lambda: run_batch(market, sets, account, threads=cores),
            len(sets),
            "cells",
            is_wall=True,
        ),
        Subject(
            f"batch of {len(many)}, {cores} threads",
            lambda: run_batch(market, many, account, threads=cores),
            len(many),
            "cells",
            is_wall=True,
        ),
        Subject(
            f"batch of {len(sets)} with all their metrics",
            lambda: [row.metrics for row in run_batch(market, sets, account)],
            len(sets),
            "cells",
        ),
        Subject(
            f"sweep of {len(gated)} through decide, gated",
            lambda: [run_general(market, one, account) for one in gated],
            len(gated),
            "cells",
            100,
        ),
        Subject(
            f"sweep of {len(every)} through decide, every bar",
            lambda: [run_general(market, one, account) for one in every],
            len(every),
            "cells",
        ),
    ]


def _derive(market: Market, account: Account, trace: Trace) -> object:
    """What a finished run is turned into: equity, trades, metrics."""
    tables = build_tables(market, trace, account.start_cash)
    return compute_metrics(
        tables.equity,
        tables.trades,
        tables.fills,
        tables.funding,
        start_cash=reference.START_CASH,
        bar_ms=market.bar_ms,
    )


def peer_subjects(bars: Bars) -> tuple[list[Subject], list[str]]:
    """Return subjects for the peers that are installed, and the names of those that are not."""
    subjects, missing = [], []
    for name, make in (("backtesting", _backtesting), ("vectorbt", _vectorbt)):
        if importlib.util.find_spec(name) is None:
            missing.append(name)
        else:
            subjects.extend(make(bars))
    return subjects, missing


def _frame(bars: Bars):  # type: ignore[no-untyped-def]
    import pandas as pd

    index = pd.to_datetime(bars.open_time, unit="ms")
    columns = {name.title(): getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(columns, index=index)


def _backtesting(bars: Bars) -> list[Subject]:
    import warnings

    from backtesting import Strategy as PeerStrategy
    from backtesting.lib import FractionalBacktest, crossover

    def average(values, length):  # type: ignore[no-untyped-def]
        import pandas as pd

        return pd.Series(values).rolling(length).mean()

    class Cross(PeerStrategy):  # type: ignore[misc]  # the peer has no types
        def init(self) -> None:
            self.fast = self.I(average, self.data.Close, 20)
            self.slow = self.I(average, self.data.Close, 50)

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                self.buy(size=reference.WEIGHT)
            elif crossover(self.slow, self.fast) and self.position:
                self.position.close()

    frame = _frame(bars)

    def run() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return FractionalBacktest(frame, Cross, cash=reference.START_CASH, commission=reference.FEE).run()

    return [Subject("backtesting.py, one run", run, len(bars), "bars")]


def _vectorbt(bars: Bars) -> list[Subject]:
    import numpy as np
    import vectorbt as vbt

    close = _frame(bars)["Close"]
    opening = _frame(bars)["Open"]

    def simulate(fasts: list[int], slows: list[int]) -> object:
        fast = vbt.MA.run(close, fasts, short_name="fast")
        slow = vbt.MA.run(close, slows, short_name="slow")
        entries = fast.ma_crossed_above(slow).vbt.signals.fshift(1)
        exits = fast.ma_crossed_below(slow).vbt.signals.fshift(1)
        portfolio = vbt.Portfolio.from_signals(
            close, entries, exits, price=opening, fees=reference.FEE, size=reference.WEIGHT, size_type="percent",
            init_cash=reference.START_CASH, freq="1min",
        )  # fmt: skip
        return np.asarray(portfolio.final_value())

    pairs = [(fast, slow) for fast in FASTS for slow in SLOWS if fast != slow]
    fasts, slows = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return [
        Subject("vectorbt, one run, warm", lambda: simulate([20], [50]), len(bars), "bars"),
        Subject(f"vectorbt, {len(pairs)} columns, warm", lambda: simulate(fasts, slows), len(pairs), "cells"),
    ]
