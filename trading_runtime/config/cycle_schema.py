"""Every setting of a cycle: its type, limits, default and what it means. Sections that mean the same as in a backtest
are those of ``schema.py``, so that a strategy moves from one to the other with its settings.

Only shapes and limits of single values are here; what settings only say together is checked in ``load.py``, what they
turn into is in ``cycle_build.py``. No credential is a setting: those come from the environment alone.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from trading_runtime.config.schema import (
    AccountSettings,
    DataSettings,
    ExecutionSettings,
    FundingSettings,
    InstrumentSettings,
    PayloadSettings,
    QualitySettings,
    Scalar,
    Section,
    SymbolSettings,
    Timeframe,
    TimeText,
)

SIMULATED: Final = "simulated"
# A newest bar older than one bar means that the next one is overdue; exchanges publish it within seconds, so five
# minutes leave room for a slow one without calling a dead feed alive.
BAR_AGE_GRACE_SECONDS: Final = 300

# JSON schema and Python read these alike; without the look-ahead Python's $ would let a line break through.
_ACCOUNT_NAME = r"^[a-z0-9-]{1,32}(?!\n)$"
_EXCHANGE_ID = r"^[a-z][a-z0-9_]{0,39}(?!\n)$"
_BASE_URL = r"^https?://[A-Za-z0-9.:\[\]_-]+(?!\n)$"
_PREFIX = r"^[A-Za-z0-9_-]{0,64}(?!\n)$"
_DOCUMENT_PART = r"^[A-Za-z0-9._-]{1,200}(?!\n)$"

ExchangeId = Annotated[
    str, Meta(pattern=_EXCHANGE_ID, extra={"form": "ccxt's id of an exchange, such as binance, in lower case"})
]
LossFraction = Annotated[float, Meta(gt=0.0, le=1.0)]


class CycleAccountSettings(AccountSettings, frozen=True, kw_only=True):
    """Which account trades, with how much money, and what it may do."""

    name: Annotated[
        str,
        Meta(
            pattern=_ACCOUNT_NAME,
            extra={"form": "1 to 32 of the characters a-z, 0-9 and -"},
            description="what state, journal, control and order ids call this account: 1 to 32 of a-z, 0-9 and -; "
            "another name is another account",
        ),
    ] = "main"
    cash: Annotated[
        float,
        Meta(
            gt=0.0,
            description="quote money the strategy is given when its account is first seen; "
            "what it buys is paid from it, and nothing else of the exchange's account is touched",
        ),
    ] = 10_000.0
    funds: Annotated[
        Literal["given", "all"],
        Meta(
            description="`given`: the strategy trades `cash` and what it made of it, nothing else is touched; "
            "`all`: live, all quote money of the exchange's account is the strategy's, savings included: it starts "
            "with what is there, and deposits, withdrawals and interest are booked as flows, never as profit"
        ),
    ] = "given"
    adopt: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(
            description="symbols whose coins become the strategy's positions, at the price of that moment, when the "
            "account is opened; needs `funds` all"
        ),
    ] = field(default_factory=list)


class ArtifactSettings(PayloadSettings, frozen=True, kw_only=True):
    """The publication that the strategy consumes (a live pool), and where it is looked for, step by step."""

    collection: Annotated[
        Annotated[str, Meta(pattern=_DOCUMENT_PART, extra={"form": "letters, digits, . _ and -"})],
        Meta(description="collection of the store that upstream publishes into"),
    ] = "strategy"
    document: Annotated[
        Annotated[str, Meta(pattern=_DOCUMENT_PART, extra={"form": "letters, digits, . _ and -"})],
        Meta(description="name of the published document"),
    ] = "CRYPTO_LIVE_POOL_ROTATION_LIVE_POOL"
    file: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="file that stands in when neither upstream nor the last good one can be used, relative to the "
            "configuration file; null looks at `artifacts/live_pool_legacy.json` there"
        ),
    ] = None
    manifest_file: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="upstream's artifact manifest, relative to the configuration file: where it is given, a "
            "payload whose digest it does not name is refused"
        ),
    ] = None


class TreasurySettings(Section, frozen=True, kw_only=True):
    """Money that is not needed right now earns interest; fees are paid from a little stock of the exchange's coin."""

    earn_buffer: Annotated[
        bool,
        Meta(
            description="whether quote money beyond the buffer is kept in the exchange's flexible savings; needs "
            "`account.funds` all"
        ),
    ] = False
    buffer_fraction: Annotated[
        float, Meta(ge=0.0, le=1.0, description="share of all quote money that stays free on spot")
    ] = 0.05
    buffer_minimum: Annotated[float, Meta(ge=0.0, description="least quote money that stays free on spot")] = 50.0
    buffer_maximum: Annotated[float, Meta(ge=0.0, description="most quote money that stays free on spot")] = 300.0
    buffer_tolerance: Annotated[
        float, Meta(ge=0.0, description="nothing is moved while spot is within this of the buffer, in quote money")
    ] = 5.0
    subscribe_minimum: Annotated[float, Meta(ge=0.0, description="least amount that is moved, in quote money")] = 0.1
    fuel_symbol: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="market of the coin that fees are paid with, such as BNB/USDT; null buys none"),
    ] = None
    fuel_minimum: Annotated[float, Meta(ge=0.0, description="value of that coin below which some is bought")] = 10.0
    fuel_top_up: Annotated[float, Meta(gt=0.0, description="quote money that is spent on it then")] = 15.0


class MarketSettings(Section, frozen=True, kw_only=True):
    """What is traded, and where."""

    exchange: Annotated[
        ExchangeId, Meta(description="ccxt's id of the exchange, such as `binance`; `simulated` can only be paper")
    ]
    symbols: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(
            min_length=1,
            description="what the strategy sees and trades: BASE/QUOTE (spot) or BASE/QUOTE:QUOTE (perpetual), "
            "all settled in one currency",
        ),
    ]
    timeframe: Annotated[Timeframe, Meta(description="length of the bars; each closed bar is one slot")]
    sandbox: Annotated[bool, Meta(description="whether the exchange's test network is used")] = False
    base_url: Annotated[
        Annotated[str, Meta(pattern=_BASE_URL, extra={"form": "an address such as http://127.0.0.1:8080"})] | None,
        Meta(description="sends every request to this host instead of the exchange's own: a venue for tests, a proxy"),
    ] = None


class FeedSettings(Section, frozen=True, kw_only=True):
    """Where paper trading has its bars from: files that are played back, or an exchange's public candles."""

    files: Annotated[
        list[DataSettings],
        Meta(description="candle files, one entry per symbol: history is played back, one bar a cycle"),
    ] = field(default_factory=list)
    start: Annotated[
        TimeText | None,
        Meta(
            description="the first slot is the close of the first bar that closes at or after this UTC time; files only"
        ),
    ] = None
    exchange: Annotated[
        ExchangeId | None,
        Meta(description="ccxt's id of the exchange whose public candles are used; null is `market.exchange`"),
    ] = None


class StoreSettings(Section, frozen=True, kw_only=True):
    """Where state, journal, lease and control are kept."""

    kind: Annotated[
        Literal["sqlite", "firestore", "memory"],
        Meta(
            description="sqlite is one file, firestore is shared by machines, "
            "memory forgets everything when the process ends"
        ),
    ] = "sqlite"
    path: Annotated[str, Meta(min_length=1, description="file of kind sqlite, relative to the configuration file")] = (
        "state/trading-runtime.sqlite"
    )
    project: Annotated[
        Annotated[str, Meta(min_length=1)] | None, Meta(description="Google Cloud project; required by kind firestore")
    ] = None
    database: Annotated[str, Meta(min_length=1, description="name of the Firestore database")] = "(default)"
    prefix: Annotated[
        str,
        Meta(
            pattern=_PREFIX,
            extra={"form": "at most 64 of the characters A-Z, a-z, 0-9, _ and -"},
            description="put before the names of Firestore's collections: several installations can share a database",
        ),
    ] = ""


class LeaseSettings(Section, frozen=True, kw_only=True):
    """The lease that lets one process at a time work on an account."""

    seconds: Annotated[
        int, Meta(ge=30, le=3600, description="how long a lease lasts that is neither renewed nor released")
    ] = 60


class RiskSettings(Section, frozen=True, kw_only=True):
    """When no new risk is taken; reductions always pass."""

    drawdown_fraction_max: Annotated[
        LossFraction | None,
        Meta(description="loss from the highest equity, as a fraction of it, that ends new risk; null is no limit"),
    ] = None
    daily_loss_fraction_max: Annotated[
        LossFraction | None,
        Meta(
            description="loss since 00:00 UTC, as a fraction of the equity then, that ends new risk; null is no limit"
        ),
    ] = None
    missed_slots_max: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000,
            description="missed bars that are shown to the strategy before the newest; "
            "of more the oldest are skipped, and the journal says so",
        ),
    ] = 48
    bar_age_seconds_max: Annotated[
        Annotated[int, Meta(ge=1, le=31 * 86_400)] | None,
        Meta(
            description="a newest bar that closed longer ago than this is stale and nothing is decided; "
            "null is one bar and 300 seconds"
        ),
    ] = None


class PlacementSettings(Section, frozen=True, kw_only=True):
    """How long an order may take to arrive, to be confirmed and to be answered."""

    validity_window_ms: Annotated[
        int,
        Meta(
            ge=1_000,
            le=60_000,
            description="the exchange refuses an order request that arrives later than this after it was stamped, "
            "where it knows such a window",
        ),
    ] = 5_000
    confirm_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=300,
            description="how long a cycle asks for an order whose fate is unknown; longer than the validity window",
        ),
    ] = 20
    request_seconds: Annotated[int, Meta(ge=1, le=60, description="how long one request to the exchange may take")] = 10


class NotifySettings(Section, frozen=True, kw_only=True):
    """Who is told; nothing here changes what is traded."""

    telegram: Annotated[
        bool,
        Meta(
            description="whether messages are sent when TG_TOKEN and TG_CHAT_ID or GLOBAL_TELEGRAM_CHAT_ID "
            "are in the environment"
        ),
    ] = True
    language: Annotated[Literal["en", "zh"], Meta(description="language of messages: English or Chinese")] = "en"
    status_hours: Annotated[
        int,
        Meta(
            ge=0,
            le=24,
            description="hours between two status messages of a strategy that has one, counted from 00:00 UTC; 0 sends "
            "none",
        ),
    ] = 24


class CycleOutputSettings(Section, frozen=True, kw_only=True):
    """Where reports go; nothing here changes what is traded."""

    folder: Annotated[
        str, Meta(min_length=1, description="folder of the cycles' reports, relative to the configuration file")
    ] = "cycles"


class CycleSettings(Section, frozen=True, kw_only=True):
    """Configuration of the cycles of one strategy's account of Trading Runtime."""

    name: Annotated[
        str,
        Meta(min_length=1, max_length=120, description="what reports and messages call this; it changes no decision"),
    ] = "cycle"
    strategy: Annotated[
        dict[str, Scalar],
        Meta(
            description="`class` names the strategy (a registered name, `module:Class`, or "
            "`path/to/file.py:Class` relative to the configuration file); other keys are its parameters",
        ),
    ]
    account: Annotated[CycleAccountSettings, Meta(description="name, cash, caps and permissions")] = (
        CycleAccountSettings()
    )
    market: Annotated[MarketSettings, Meta(description="what is traded, and where")]
    feed: Annotated[FeedSettings, Meta(description="where paper trading has its bars from")] = FeedSettings()
    instrument: Annotated[
        InstrumentSettings, Meta(description="filters and fees of all symbols at the simulated exchange")
    ] = InstrumentSettings()
    instruments: Annotated[
        dict[str, SymbolSettings],
        Meta(description="filters and fees by symbol; those of a real exchange come first, these fill in the rest"),
    ] = field(default_factory=dict)
    execution: Annotated[ExecutionSettings, Meta(description="how orders fill at the simulated exchange")] = (
        ExecutionSettings()
    )
    funding: Annotated[
        dict[str, FundingSettings], Meta(description="funding of perpetuals by symbol at the simulated exchange")
    ] = field(default_factory=dict)
    quality: Annotated[QualitySettings, Meta(description="how good the feed's files must be")] = QualitySettings()
    store: Annotated[StoreSettings, Meta(description="where state, journal, lease and control are kept")] = (
        StoreSettings()
    )
    lease: Annotated[LeaseSettings, Meta(description="one process at a time")] = LeaseSettings()
    risk: Annotated[RiskSettings, Meta(description="when no new risk is taken")] = RiskSettings()
    artifact: Annotated[
        ArtifactSettings | None,
        Meta(description="publication that the strategy consumes, such as a live pool; null for a strategy without"),
    ] = None
    treasury: Annotated[TreasurySettings, Meta(description="savings and the coin that fees are paid with")] = (
        TreasurySettings()
    )
    placement: Annotated[PlacementSettings, Meta(description="limits of placing orders")] = PlacementSettings()
    notify: Annotated[NotifySettings, Meta(description="who is told")] = NotifySettings()
    output: Annotated[CycleOutputSettings, Meta(description="where reports go")] = CycleOutputSettings()
