"""What a report is about: the parts of one result folder, and how its amounts, times and metrics are written.

Every section reads this and none reads a file. Holds no section of the page.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from trading_runtime.backtest.figures import (
    decimal,
    decimals_for,
    duration,
    is_number,
    measured,
    percent,
    plain,
    significant,
)
from trading_runtime.backtest.metrics import METRICS
from trading_runtime.backtest.report.markup import NOTHING, Json, mapping, text_of
from trading_runtime.backtest.tables import CHART_FILE, EQUITY_FILE, SLEEVES_FILE, TRADES_FILE, read_table
from trading_runtime.core.errors import DataError
from trading_runtime.core.timeframes import DAY_MS, iso_time

RESULT_FILE = "result.json"

_KINDS = {metric.key: metric.kind for metric in METRICS}


class Subject:
    """The parts of one result, with the figures that every section shares."""

    def __init__(
        self, result: Json, equity: Json, trades: Json | None, chart: Json | None, sleeves: Json | None = None
    ) -> None:
        self.result = result
        self.equity = equity
        self.trades = trades
        self.chart = chart
        self.sleeves = {} if sleeves is None else {key: sleeves[key] for key in sleeves if key != "time_ms"}
        self.metrics = mapping(result, "metrics")
        self.quote = plain(result.get("quote") or "")
        start = mapping(result, "account").get("start_cash", self.metrics.get("start_equity"))
        self.start_equity = float(start) if is_number(start) else float(equity["equity"][0])
        self.money_decimals = 2 if self.start_equity >= 100 else 4 if self.start_equity >= 1 else 8
        times = equity["time_ms"]
        bar_ms = int(times[1] - times[0]) if len(times) > 1 else DAY_MS
        self.with_hours = bar_ms % DAY_MS != 0
        self.symbols = [] if chart is None else list(dict.fromkeys(chart["symbol"]))
        self.several = trades is not None and len(set(trades["symbol"])) > 1
        self.closed = [] if trades is None else np.flatnonzero(~trades["is_open"].astype(bool)).tolist()
        # Figures of one symbol share their decimals, so that they can be compared down a column.
        self.decimals: dict[str, tuple[int, int]] = {}
        if trades is not None:
            largest: dict[str, float] = {}
            for symbol, quantity in zip(trades["symbol"], trades["quantity"].tolist(), strict=True):
                largest[symbol] = max(largest.get(symbol, 0.0), quantity)
            prices = dict(zip(trades["symbol"], trades["entry_price"].tolist(), strict=True))
            for symbol, quantity in largest.items():
                self.decimals[symbol] = decimals_for(quantity), max(decimals_for(prices[symbol]), 2)

    def number(self, key: str) -> float | None:
        value = self.metrics.get(key)
        return value if is_number(value) else None

    def value(self, key: str, *, sign: bool = False) -> str:
        """Return one metric as HTML, in the form its kind asks for."""
        value = self.metrics.get(key)
        if value is None:
            return NOTHING
        if not is_number(value):
            return text_of(value)
        kind = _KINDS.get(key, "number")
        if kind == "fraction":
            return percent(value, sign=sign)
        if kind == "money":
            return self.money(value)
        if kind == "ratio":
            return decimal(value, 2)
        if kind == "count":
            return measured(value, "")[0]
        if kind in ("bars", "days"):
            text, unit = duration(value) if kind == "days" else measured(value, kind)
            return f"{text} <small>{unit}</small>"
        return significant(value)

    def money(self, value: float, *, sign: bool = False) -> str:
        return decimal(value, self.money_decimals, sign=sign)

    def time(self, time_ms: int) -> str:
        text = iso_time(time_ms)
        return f"{text[:10]} {text[11:16]}" if self.with_hours else text[:10]


def read_subject(result_folder: Path) -> Subject:
    """Read a result folder. Raises DataError when it holds no readable result."""
    result = _read_result(result_folder / RESULT_FILE)
    equity = read_table(result_folder / EQUITY_FILE)
    if not len(equity["time_ms"]):
        raise DataError(f"{result_folder / EQUITY_FILE} has no rows: there is nothing to report")
    trades, chart, sleeves = (
        read_table(path) if path.exists() else None
        for path in (result_folder / TRADES_FILE, result_folder / CHART_FILE, result_folder / SLEEVES_FILE)
    )
    return Subject(result, equity, trades, chart, sleeves)


def _read_result(path: Path) -> Json:
    try:
        result = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the folder does not hold a finished run") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not isinstance(result, dict) or "name" not in result or not isinstance(result.get("metrics"), dict):
        raise DataError(f"{path} is not a result: it needs at least a name and metrics")
    return result
