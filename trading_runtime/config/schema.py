"""Every setting of a backtest: its type, limits, default and what it means. The JSON schema and the
documentation follow.

Only shapes and limits of single values are here. Reading files is in ``load.py``, wording of errors in
``checking.py``, and what settings together turn into in ``build.py``. Words and units are those of the
core: fractions are fractions of 1, names end in their unit.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

# A decimal number kept as text: 0.00000001 has no exact float64. JSON numbers are accepted and turned into
# text.
DecimalText = Annotated[str, Meta(extra={"decimal": True})]
# An ISO time kept as text, checked when it is read.
TimeText = Annotated[str, Meta(extra={"time": True})]
Scalar = bool | int | float | str

# The words of core.timeframes.TIMEFRAME_MS, written out so that editors can offer them; a test keeps both
# in step.
Timeframe = Literal[
    "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w"
]  # fmt: skip
TimeUnit = Literal["s", "ms", "us", "ns"]
Grade = Literal["A", "B", "C", "D"]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all sections share: they never change and know no other keys."""


class DataSettings(Section, frozen=True, kw_only=True):
    """One file of candles."""

    path: Annotated[
        str,
        Meta(
            description="candle file, relative to the configuration file: Parquet made by "
            "`trading-runtime data`, or CSV (also .gz, .zip), feather or JSON as others publish them",
            min_length=1,
        ),
    ]
    symbol: Annotated[
        str | None,
        Meta(description="BASE/QUOTE (spot) or BASE/QUOTE:QUOTE (perpetual); needed when the file does not say it"),
    ] = None
    timeframe: Annotated[
        Timeframe | None, Meta(description="length of the file's bars; needed when the file does not say it")
    ] = None
    columns: Annotated[
        dict[str, str],
        Meta(description='which column is which, for unusual files: `{"time": "opened", "close": "last"}`'),
    ] = {}
    time_unit: Annotated[
        TimeUnit | None, Meta(description="unit of numeric times, when their size does not tell it")
    ] = None
    resample: Annotated[
        Timeframe | None, Meta(description="aggregate the bars to this longer timeframe before the run")
    ] = None


class PeriodSettings(Section, frozen=True, kw_only=True):
    """Which part of the data is used; without it everything."""

    start: Annotated[
        TimeText | None,
        Meta(description="first bar opens at or after this UTC time (2024-01-31 or 2024-01-31T12:00:00Z)"),
    ] = None
    end: Annotated[TimeText | None, Meta(description="last bar closes at or before this UTC time")] = None


class AccountSettings(Section, frozen=True, kw_only=True):
    """What the account starts with and may do."""

    cash: Annotated[float, Meta(gt=0.0, description="quote money at the start")] = 10_000.0
    leverage_max: Annotated[
        float,
        Meta(gt=0.0, le=1000.0, description="gross value of perpetual positions over equity, at most"),
    ] = 1.0
    short: Annotated[bool, Meta(description="whether perpetuals may be sold short")] = False
    order_notional_max: Annotated[
        DecimalText | None, Meta(description="largest value of one order in quote money; null is no limit")
    ] = None
    symbol_notional_max: Annotated[
        DecimalText | None,
        Meta(description="largest value of one symbol's position in quote money; null is no limit"),
    ] = None


_TICK = "step of prices"
_LOT = "step of quantities"
_QUANTITY_MINIMUM = "smallest quantity of an order"
_QUANTITY_MAXIMUM = "largest quantity of an order; null is no limit"
_NOTIONAL_MINIMUM = "smallest value of an order in quote money"
_MAKER = "fee of a resting order as a fraction of the value (0.001 is 0.1 %); negative is a rebate"
_TAKER = "fee of an order that takes, as a fraction of the value"
_QUANTITY_UNIT = "the integer unit quantities are counted in; lots must be whole multiples of it"
_QUOTE_UNIT = "the integer unit money is counted in; the same for all symbols of a run"

FeeRate = Annotated[float, Meta(ge=-0.01, lt=1.0)]


class InstrumentSettings(Section, frozen=True, kw_only=True):
    """Filters and fees of every symbol that `instruments` does not say otherwise."""

    tick: Annotated[DecimalText, Meta(description=_TICK)] = "0.01"
    lot: Annotated[DecimalText, Meta(description=_LOT)] = "0.00000001"
    quantity_minimum: Annotated[DecimalText, Meta(description=_QUANTITY_MINIMUM)] = "0"
    quantity_maximum: Annotated[DecimalText | None, Meta(description=_QUANTITY_MAXIMUM)] = None
    notional_minimum: Annotated[DecimalText, Meta(description=_NOTIONAL_MINIMUM)] = "0"
    maker_fee_rate: Annotated[FeeRate, Meta(description=_MAKER)] = 0.0
    taker_fee_rate: Annotated[FeeRate, Meta(description=_TAKER)] = 0.0
    quantity_unit: Annotated[DecimalText, Meta(description=_QUANTITY_UNIT)] = "0.00000001"
    quote_unit: Annotated[DecimalText, Meta(description=_QUOTE_UNIT)] = "0.00000001"


class DatedRules(Section, frozen=True, kw_only=True):
    """Filters and fees that hold from a date on; what is not given stays as the symbol's own settings say."""

    valid_from: Annotated[TimeText, Meta(description="UTC time from which these rules hold")]
    tick: Annotated[DecimalText | UnsetType, Meta(description=_TICK)] = UNSET
    lot: Annotated[DecimalText | UnsetType, Meta(description=_LOT)] = UNSET
    quantity_minimum: Annotated[DecimalText | UnsetType, Meta(description=_QUANTITY_MINIMUM)] = UNSET
    quantity_maximum: Annotated[DecimalText | UnsetType | None, Meta(description=_QUANTITY_MAXIMUM)] = UNSET
    notional_minimum: Annotated[DecimalText | UnsetType, Meta(description=_NOTIONAL_MINIMUM)] = UNSET
    maker_fee_rate: Annotated[FeeRate | UnsetType, Meta(description=_MAKER)] = UNSET
    taker_fee_rate: Annotated[FeeRate | UnsetType, Meta(description=_TAKER)] = UNSET


class SymbolSettings(Section, frozen=True, kw_only=True):
    """Filters and fees of one symbol; what is not given is taken from `instrument`."""

    tick: Annotated[DecimalText | UnsetType, Meta(description=_TICK)] = UNSET
    lot: Annotated[DecimalText | UnsetType, Meta(description=_LOT)] = UNSET
    quantity_minimum: Annotated[DecimalText | UnsetType, Meta(description=_QUANTITY_MINIMUM)] = UNSET
    quantity_maximum: Annotated[DecimalText | UnsetType | None, Meta(description=_QUANTITY_MAXIMUM)] = UNSET
    notional_minimum: Annotated[DecimalText | UnsetType, Meta(description=_NOTIONAL_MINIMUM)] = UNSET
    maker_fee_rate: Annotated[FeeRate | UnsetType, Meta(description=_MAKER)] = UNSET
    taker_fee_rate: Annotated[FeeRate | UnsetType, Meta(description=_TAKER)] = UNSET
    quantity_unit: Annotated[DecimalText | UnsetType, Meta(description=_QUANTITY_UNIT)] = UNSET
    quote_unit: Annotated[DecimalText | UnsetType, Meta(description=_QUOTE_UNIT)] = UNSET
    rules: Annotated[
        list[DatedRules],
        Meta(
            description="rules that changed: each holds from its date until the next one's; "
            "before the first, the keys beside this one"
        ),
    ] = []


class ExecutionSettings(Section, frozen=True, kw_only=True):
    """How the simulated exchange executes orders."""

    slippage_fraction: Annotated[
        float,
        Meta(ge=0.0, lt=0.5, description="what a taker loses against the reference price, as a fraction of it"),
    ] = 0.0
    spread_fraction: Annotated[
        float,
        Meta(ge=0.0, lt=0.5, description="the whole spread as a fraction of the price; a taker pays half of it"),
    ] = 0.0
    volume_fraction_max: Annotated[
        Annotated[float, Meta(gt=0.0, le=1.0)] | None,
        Meta(description="largest share of a bar's volume that may be filled; null is no limit"),
    ] = None
    latency_bars: Annotated[
        int,
        Meta(ge=0, le=10_000, description="whole bars between a decision and its order reaching the exchange"),
    ] = 0
    limit_fill: Annotated[
        Literal["through", "touch"],
        Meta(description="a resting limit order fills when the price trades beyond it (through) or reaches it (touch)"),
    ] = "through"
    zero_volume_fills: Annotated[bool, Meta(description="whether a bar in which nobody traded may fill an order")] = (
        False
    )


class FundingSettings(Section, frozen=True, kw_only=True):
    """Funding of one perpetual: a constant rate or a file of rates, exactly one of them."""

    rate: Annotated[
        Annotated[float, Meta(gt=-1.0, lt=1.0)] | None,
        Meta(description="constant rate: longs pay this fraction of the position's value to shorts each time"),
    ] = None
    interval_hours: Annotated[
        int,
        Meta(ge=1, le=24, description="hours between payments of a constant rate, counted from 00:00 UTC"),
    ] = 8
    path: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="CSV with the columns time and rate, relative to the configuration file"),
    ] = None


class QualitySettings(Section, frozen=True, kw_only=True):
    """How good the data must be; exceptions are written into the result."""

    minimum: Annotated[Grade, Meta(description="worst grade of `trading-runtime data check` that is accepted")] = "B"
    gaps: Annotated[
        Literal["refuse", "fill"],
        Meta(description="missing bars end the run (refuse) or become flat bars without volume (fill)"),
    ] = "refuse"
    drop_errors: Annotated[
        bool,
        Meta(description="leave out rows that cannot be true; needs minimum D, and gaps fill for the holes"),
    ] = False


class EngineSettings(Section, frozen=True, kw_only=True):
    """Which path of the engine computes; all give the same bytes."""

    path: Annotated[
        Literal["auto", "general", "compiled"],
        Meta(
            description="auto takes the compiled path where the strategy has targets and it pays; "
            "general is plain Python"
        ),
    ] = "auto"


class MetricsSettings(Section, frozen=True, kw_only=True):
    """Conventions of the metrics."""

    risk_free_rate_annual: Annotated[
        float,
        Meta(
            gt=-1.0,
            le=10.0,
            description="risk-free return per year as a fraction, for Sharpe, Sortino and alpha",
        ),
    ] = 0.0
    periods_per_year: Annotated[
        float, Meta(gt=0.0, le=366.0, description="days that count as a year; crypto trades on all 365")
    ] = 365.0


class PayloadSettings(Section, frozen=True, kw_only=True):
    """When a publication that a strategy consumes (a live pool) is accepted."""

    max_age_days: Annotated[
        int, Meta(ge=1, le=3650, description="a publication whose date is longer ago than this is stale")
    ] = 45
    acceptable_modes: Annotated[
        list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, description="publisher's modes that are accepted")
    ] = field(default_factory=lambda: ["core_major"])
    expected_size: Annotated[int, Meta(ge=1, le=200, description="number of symbols a publication must have")] = 5
    last_known_good_days_max: Annotated[
        int,
        Meta(
            ge=1,
            le=3650,
            description="how long the last good publication may stand in for a fresh one, in days since its date",
        ),
    ] = 90
    allow_new_entries_on_degraded: Annotated[
        bool,
        Meta(description="whether positions may be opened by a publication that did not come fresh from upstream"),
    ] = False


class ArtifactHistorySettings(PayloadSettings, frozen=True, kw_only=True):
    """The publications of the past, for backtests: each is known from its own time on and never before."""

    folder: Annotated[
        str,
        Meta(
            min_length=1,
            description="folder of dated payloads (*.json), relative to the configuration file; the newest one that "
            "was published by then is in force",
        ),
    ]
    publication_hours: Annotated[
        int,
        Meta(
            ge=0,
            le=24 * 31,
            description="hours from a payload's date (00:00 UTC) until it is known, where it has no `generated_at`",
        ),
    ] = 24


class OutputSettings(Section, frozen=True, kw_only=True):
    """Where results go; nothing here changes them."""

    folder: Annotated[
        str,
        Meta(
            min_length=1,
            description="folder of the result, relative to the configuration file; replaced as a whole",
        ),
    ] = "results"
    report: Annotated[bool, Meta(description="whether report.html is made")] = True


class Settings(Section, frozen=True, kw_only=True):
    """Configuration of one backtest of Trading Runtime."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=120,
            description="what this run is called in reports; it changes no result",
        ),
    ] = "backtest"
    strategy: Annotated[
        dict[str, Scalar],
        Meta(
            description="`class` names the strategy (a registered name, `module:Class`, or "
            "`path/to/file.py:Class` relative to the configuration file); other keys are its parameters",
        ),
    ]
    data: Annotated[list[DataSettings], Meta(min_length=1, description="the candles, one entry per symbol")]
    period: Annotated[PeriodSettings, Meta(description="which part of the data is used")] = PeriodSettings()
    account: Annotated[AccountSettings, Meta(description="cash, caps and permissions")] = AccountSettings()
    instrument: Annotated[InstrumentSettings, Meta(description="filters and fees of all symbols")] = (
        InstrumentSettings()
    )
    instruments: Annotated[dict[str, SymbolSettings], Meta(description="filters and fees by symbol")] = {}
    execution: Annotated[ExecutionSettings, Meta(description="how orders fill")] = ExecutionSettings()
    funding: Annotated[dict[str, FundingSettings], Meta(description="funding of perpetuals by symbol")] = {}
    quality: Annotated[QualitySettings, Meta(description="how good the data must be")] = QualitySettings()
    engine: Annotated[EngineSettings, Meta(description="which path computes")] = EngineSettings()
    metrics: Annotated[MetricsSettings, Meta(description="conventions of the metrics")] = MetricsSettings()
    artifact: Annotated[
        ArtifactHistorySettings | None,
        Meta(description="publications that the strategy consumes, such as live pools; null for a strategy without"),
    ] = None
    output: Annotated[OutputSettings, Meta(description="where results go")] = OutputSettings()


STRATEGY_CLASS: Final = "class"
