"""The tables of a finished run: what the engine fills, what trades and metrics read, what lands on disk.

Amounts stay integers of their unit here; they become float64 only where a table is written for people and
notebooks. This file computes nothing about performance and decides nothing; pyarrow is imported only by what
reads or writes files.

    equity.parquet   one row per bar, at its close
    fills.parquet    one row per fill, in the order they happened
    trades.parquet   one row per trade, in the order they closed, open ones last
    funding.parquet  one row per funding payment; written only when there was one
    sleeves.parquet  one row per bar, the profit of each sleeve so far; written only where a strategy names sleeves
    chart.parquet    prices for the report, at most ``CHART_BUCKETS_MAX`` rows per symbol
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trading_runtime.core.errors import DataError, OutputError
from trading_runtime.data.arrow_columns import arrow_column

if TYPE_CHECKING:
    import pyarrow

    from trading_runtime.core.bars import Bars

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Signs = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]

CHART_BUCKETS_MAX = 4_000  # two to four pixels per bucket on a wide screen: more cannot be seen

EQUITY_FILE = "equity.parquet"
FILLS_FILE = "fills.parquet"
TRADES_FILE = "trades.parquet"
FUNDING_FILE = "funding.parquet"
SLEEVES_FILE = "sleeves.parquet"
CHART_FILE = "chart.parquet"


@dataclass(slots=True, eq=False)
class EquityTable:
    """One row per bar, shape (n,): ``time_ms`` is the bar's close, money is quote money as float64.

    ``exposure`` is gross position value / equity (0 when equity is not positive); ``benchmark`` is the equity
    of buying equal weights of all symbols with the same cash, without cost, and holding them.
    """

    time_ms: Integers
    equity: Floats
    cash: Floats
    exposure: Floats
    benchmark: Floats

    def __len__(self) -> int:
        return len(self.time_ms)


@dataclass(slots=True, eq=False)
class FillTable:
    """One row per fill, in order. ``time_ms`` is the open of the bar it happened in, ``side`` +1 buy and -1
    sell.

    ``fee_units`` is negative for a rebate; ``slippage_units`` is the cost against the reference price, never
    negative. ``quantity_unit`` holds one unit per symbol (1e-8 means that 1 unit is 0.00000001 of the base
    asset).
    """

    time_ms: Integers
    bar: Integers
    symbol_index: Integers
    side: Signs
    quantity_units: Integers
    price: Floats
    value_units: Integers
    fee_units: Integers
    slippage_units: Integers
    is_maker: Flags
    order_id: list[str]
    leg: list[str]
    reason: list[str]
    symbols: list[str]
    quantity_unit: list[float]
    quote_unit: float

    def __len__(self) -> int:
        return len(self.time_ms)


@dataclass(slots=True, eq=False)
class FundingTable:
    """One row per funding payment of a perpetual, in order of time; positive amounts were paid."""

    time_ms: Integers
    symbol_index: Integers
    amount_units: Integers

    def __len__(self) -> int:
        return len(self.time_ms)


@dataclass(slots=True, eq=False)
class TradeTable:
    """One row per trade, in the order they closed, open ones last; see ``trades.build_trades``.

    ``exit_*`` of an open trade say where it was marked. ``pnl_units`` is after fees and funding;
    ``realised_units`` is the part of the price difference that exits have settled, before fees and funding.
    """

    symbol_index: Integers
    direction: Signs
    entry_time_ms: Integers
    exit_time_ms: Integers
    entry_bar: Integers
    exit_bar: Integers
    quantity_units: Integers
    entry_price: Floats
    exit_price: Floats
    entry_value_units: Integers
    pnl_units: Integers
    realised_units: Integers
    fees_units: Integers
    funding_units: Integers
    slippage_units: Integers
    return_fraction: Floats
    bars_held: Integers
    entry_reason: list[str]
    exit_reason: list[str]
    is_open: Flags
    symbols: list[str]
    quantity_unit: list[float]
    quote_unit: float

    def __len__(self) -> int:
        return len(self.symbol_index)


@dataclass(slots=True, eq=False)
class SleeveTable:
    """One row per bar, shape (n,): ``time_ms`` is the bar's close, ``profit`` what each sleeve has earned by then in
    quote money, after fees and funding.
    """

    time_ms: Integers
    profit: dict[str, Floats]


def no_funding() -> FundingTable:
    """Return a funding table without rows: what every spot run has."""
    empty = np.zeros(0, dtype=np.int64)
    return FundingTable(empty, empty, empty)


def unit_ratio(unit: float) -> tuple[int, int]:
    """Return the unit as an exact fraction of what its decimal text says: 1e-8 is 1 / 100000000."""
    return Decimal(repr(unit)).as_integer_ratio()


def money_float(units: int, unit: float) -> float:
    """Return an amount as the float64 nearest to its decimal value: 12345 units of 1e-8 are 0.00012345."""
    numerator, denominator = unit_ratio(unit)
    return units * numerator / denominator


def money_floats(units: Integers, unit: float) -> Floats:
    """Return ``money_float`` of a column; multiplying by 1e-8 instead would leave digits nobody wrote."""
    numerator, denominator = unit_ratio(unit)
    column = units.astype(np.float64)
    return (column if numerator == 1 else column * numerator) / denominator


def positions_after(fills: FillTable) -> Integers:
    """Return the position of each fill's symbol after it, in quantity units, shape (fills,)."""
    signed = fills.side.astype(np.int64) * fills.quantity_units
    after = np.zeros(len(fills), dtype=np.int64)
    for index in range(len(fills.symbols)):
        rows = fills.symbol_index == index
        after[rows] = np.cumsum(signed[rows])  # integers: exact in any order
    return after


def downsample_ohlc(
    open_time: Integers, open_: Floats, high: Floats, low: Floats, close: Floats, buckets_max: int
) -> tuple[Integers, Floats, Floats, Floats, Floats]:
    """Return at most ``buckets_max`` candles: first open, highest high, lowest low and last close of equal
    runs of bars.

    The last bucket may hold fewer bars. Nothing is averaged, so no high or low is lost.
    """
    rows = len(open_time)
    width = max(1, -(-rows // buckets_max))
    if width == 1:
        return open_time, open_, high, low, close
    starts = np.arange(0, rows, width)
    ends = np.minimum(starts + width, rows) - 1
    return (
        open_time[starts],
        open_[starts],
        np.maximum.reduceat(high, starts),
        np.minimum.reduceat(low, starts),
        close[ends],
    )


def write_tables(
    folder: Path,
    equity: EquityTable,
    fills: FillTable,
    trades: TradeTable,
    funding: FundingTable | None = None,
    sleeves: SleeveTable | None = None,
) -> list[Path]:
    """Write the run's tables into ``folder`` and return their paths; raises OutputError when one cannot be
    written.

    The same tables give the same bytes for the same pyarrow version. The caller owns the folder and its final
    rename: a folder that is not complete is not a result.
    """
    written = [
        _write(folder / EQUITY_FILE, _equity_columns(equity)),
        _write(folder / FILLS_FILE, _fill_columns(fills)),
        _write(folder / TRADES_FILE, _trade_columns(trades)),
    ]
    if funding is not None and len(funding):
        written.append(_write(folder / FUNDING_FILE, _funding_columns(funding, fills)))
    if sleeves is not None:
        written.append(_write(folder / SLEEVES_FILE, {"time_ms": sleeves.time_ms, **sleeves.profit}))
    return written


def write_chart(folder: Path, bars: Sequence[Bars], buckets_max: int = CHART_BUCKETS_MAX) -> Path:
    """Write the prices the report draws, down-sampled per symbol: symbol, time_ms (open), open, high, low,
    close.
    """
    parts = [downsample_ohlc(b.open_time, b.open, b.high, b.low, b.close, buckets_max) for b in bars]
    names = [b.symbol for b, part in zip(bars, parts, strict=True) for _ in range(len(part[0]))]
    columns: dict[str, Any] = {"symbol": names}
    for position, name in enumerate(("time_ms", "open", "high", "low", "close")):
        empty = np.zeros(0, dtype=np.int64 if name == "time_ms" else np.float64)
        columns[name] = np.concatenate([part[position] for part in parts]) if parts else empty
    return _write(folder / CHART_FILE, columns)


def read_table(path: Path) -> dict[str, Any]:
    """Return the columns of one of the files above: numpy arrays for numbers, lists for text.

    Raises DataError when the file is missing or is not Parquet.
    """
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(path).read()
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the folder does not hold a finished run") from None
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    return {name: _plain(table.column(name)) for name in table.column_names}


def _plain(column: pyarrow.ChunkedArray) -> Any:
    import pyarrow as arrow

    if arrow.types.is_string(column.type) or arrow.types.is_dictionary(column.type):
        return column.to_pylist()
    return column.to_numpy()


def _write(path: Path, columns: dict[str, Any]) -> Path:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    table = arrow.table({name: arrow_column(values) for name, values in columns.items()})
    try:
        parquet.write_table(table, path, compression="snappy", version="2.6", store_schema=False)
    except (arrow.ArrowException, OSError) as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
    return path


def _equity_columns(equity: EquityTable) -> dict[str, Any]:
    return {
        "time_ms": equity.time_ms,
        "equity": equity.equity,
        "cash": equity.cash,
        "exposure": equity.exposure,
        "benchmark": equity.benchmark,
    }


def _fill_columns(fills: FillTable) -> dict[str, Any]:
    return {
        "time_ms": fills.time_ms,
        "bar": fills.bar,
        "symbol": _names(fills.symbols, fills.symbol_index),
        "side": ["buy" if side > 0 else "sell" for side in fills.side.tolist()],
        "quantity": _quantities(fills.quantity_units, fills.symbol_index, fills.quantity_unit),
        "price": fills.price,
        "value": money_floats(fills.value_units, fills.quote_unit),
        "fee": money_floats(fills.fee_units, fills.quote_unit),
        "slippage": money_floats(fills.slippage_units, fills.quote_unit),
        "liquidity": ["maker" if is_maker else "taker" for is_maker in fills.is_maker.tolist()],
        "order_id": fills.order_id,
        "leg": fills.leg,
        "reason": fills.reason,
        "position_after": _quantities(positions_after(fills), fills.symbol_index, fills.quantity_unit),
    }


def _trade_columns(trades: TradeTable) -> dict[str, Any]:
    unit = trades.quote_unit
    return {
        "symbol": _names(trades.symbols, trades.symbol_index),
        "direction": ["long" if direction > 0 else "short" for direction in trades.direction.tolist()],
        "entry_time_ms": trades.entry_time_ms,
        "exit_time_ms": trades.exit_time_ms,
        "entry_bar": trades.entry_bar,
        "exit_bar": trades.exit_bar,
        "quantity": _quantities(trades.quantity_units, trades.symbol_index, trades.quantity_unit),
        "entry_price": trades.entry_price,
        "exit_price": trades.exit_price,
        "entry_value": money_floats(trades.entry_value_units, unit),
        "pnl": money_floats(trades.pnl_units, unit),
        "realised": money_floats(trades.realised_units, unit),
        "fees": money_floats(trades.fees_units, unit),
        "funding": money_floats(trades.funding_units, unit),
        "slippage": money_floats(trades.slippage_units, unit),
        "return_fraction": trades.return_fraction,
        "bars_held": trades.bars_held,
        "entry_reason": trades.entry_reason,
        "exit_reason": trades.exit_reason,
        "is_open": trades.is_open,
    }


def _funding_columns(funding: FundingTable, fills: FillTable) -> dict[str, Any]:
    return {
        "time_ms": funding.time_ms,
        "symbol": _names(fills.symbols, funding.symbol_index),
        "amount": money_floats(funding.amount_units, fills.quote_unit),
    }


def _names(symbols: list[str], symbol_index: Integers) -> list[str]:
    return [symbols[index] for index in symbol_index.tolist()]


def _quantities(units: Integers, symbol_index: Integers, quantity_unit: list[float]) -> Floats:
    quantities = np.zeros(len(units), dtype=np.float64)
    for index, unit in enumerate(quantity_unit):
        rows = symbol_index == index
        quantities[rows] = money_floats(units[rows], unit)
    return quantities
