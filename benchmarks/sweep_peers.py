"""A peer's sweep as one whole process: ``python benchmarks/sweep_peers.py JOB.json RESULT.json``, by the peer's own
Python.

Each peer sweeps its own fastest way on one core and keeps final equity and fills by combination. The rule is that of
``reference.py``: the two averages are compared on each bar, orders fill at the next open. Imports nothing of this
project: a peer's environment does not have it. What a job holds is said in ``job_of`` (``sweeps.py``).
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# One call with all columns of a thousand combinations would need 6 GB.
COLUMNS_AT_ONCE = 100
# A power of two, so that scaled prices keep every digit and equal averages stay equal.
FRACTIONAL_UNIT = 2.0**-27

Rows = list[tuple[int, int, float, int | None]]


def main(job_path: str, result_path: str) -> None:
    """Sweep as often as the job says, timing each call, and write the last call's rows."""
    job = json.loads(Path(job_path).read_text())
    sweep = {"backtesting": backtesting_sweep, "vectorbt": vectorbt_sweep}[job["package"]](job)
    seconds, rows = [], []
    for _ in range(job["calls"]):
        started = time.process_time()
        rows = sweep()
        seconds.append(time.process_time() - started)
    Path(result_path).write_text(json.dumps({"cpu_seconds": seconds, "rows": rows}))


def vectorbt_sweep(job: dict[str, Any]) -> Callable[[], Rows]:
    """Columns broadcast, one column for each combination; ``engine`` is vectorbt's own setting."""
    import numpy as np
    import vectorbt

    vectorbt.settings["engine"] = job["engine"]
    candles = _candles(job)
    close, opening = candles["close"], candles[["open"]].to_numpy()

    def averages(lengths: list[int]) -> Any:
        # One length comes without an axis of columns, which would be broadcast to bars x bars.
        return vectorbt.MA.run(close, lengths, run_unique=True).ma.to_numpy().reshape(len(close), len(lengths))

    def simulate(pairs: list[list[int]]) -> Rows:
        fast, slow = averages([pair[0] for pair in pairs]), averages([pair[1] for pair in pairs])
        entries, exits = np.zeros(fast.shape, dtype=bool), np.zeros(fast.shape, dtype=bool)
        entries[1:], exits[1:] = (fast > slow)[:-1], (fast < slow)[:-1]
        portfolio = vectorbt.Portfolio.from_signals(
            close, entries, exits, price=opening, fees=job["fee"], size=job["weight"], size_type="percent",
            init_cash=job["cash"], freq="1min",
        )  # fmt: skip
        equity, fills = np.atleast_1d(portfolio.final_value()), np.atleast_1d(portfolio.orders.count())
        figures = zip(pairs, equity.tolist(), fills.tolist(), strict=True)
        return [(fast, slow, equity, int(fills)) for (fast, slow), equity, fills in figures]

    def sweep() -> Rows:
        parts = range(0, len(job["pairs"]), COLUMNS_AT_ONCE)
        return [row for start in parts for row in simulate(job["pairs"][start : start + COLUMNS_AT_ONCE])]

    return sweep


def backtesting_sweep(job: dict[str, Any]) -> Callable[[], Rows]:
    """``optimize()`` over the grid in this process. It keeps equities; fills are known of the best combination."""
    import multiprocessing.dummy

    import backtesting
    from backtesting.lib import FractionalBacktest

    backtesting.Pool = partial(multiprocessing.dummy.Pool, 1)  # else it forks a process for each core
    candles = _candles(job)
    candles.columns = candles.columns.str.title()
    wanted = {tuple(pair) for pair in job["pairs"]}

    def average(values: Any, length: int) -> Any:
        import pandas

        return pandas.Series(values).rolling(length).mean()

    class Cross(backtesting.Strategy):  # type: ignore[misc]  # the peer has no types
        fast = 20
        slow = 50

        def init(self) -> None:
            self.fast_average = self.I(average, self.data.Close, self.fast)
            self.slow_average = self.I(average, self.data.Close, self.slow)

        def next(self) -> None:
            fast, slow = self.fast_average[-1], self.slow_average[-1]
            if not self.position:
                if fast > slow:
                    self.buy(size=job["weight"])
            elif fast < slow:
                self.position.close()

    def sweep() -> Rows:
        runs = FractionalBacktest(
            candles, Cross, cash=job["cash"], commission=job["fee"], fractional_unit=FRACTIONAL_UNIT
        )
        best, equities = runs.optimize(
            fast=sorted({fast for fast, _ in wanted}),
            slow=sorted({slow for _, slow in wanted}),
            constraint=lambda pair: (pair.fast, pair.slow) in wanted,
            maximize="Equity Final [$]",
            return_heatmap=True,
        )
        strategy = best["_strategy"]
        fills = {(strategy.fast, strategy.slow): 2 * len(best["_trades"]) + len(strategy.trades)}
        return [(*pair, equity, fills.get(pair)) for pair, equity in equities.items()]

    return sweep


def _candles(job: dict[str, Any]) -> Any:
    import pandas

    frame = pandas.read_csv(job["candles"])
    frame.index = pandas.to_datetime(frame.pop("open_time_ms"), unit="ms")
    return frame


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], sys.argv[2])
