"""From settings to the parts of a cycle: store, exchange, strategy, identity, and what live trading asks for first.

    dry-run   reads the store, writes to a copy in memory; orders fill at once at the last price, nothing is sent
    paper     the simulated exchange on real bars; everything is kept
    live      the exchange itself: needs the mode, the acknowledgement, credentials and a known, clean commit

Heavy libraries are imported where their part is built: a cycle loads only what it uses. Running is ``run.py``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import asdict as asdict_of

from trading_runtime.config.build import build_instrument
from trading_runtime.config.cycle_build import (
    bar_age_ms_max,
    build_account,
    build_execution,
    build_feed_files,
    build_funding,
    build_instruments,
    feed_exchange,
    feed_start_ms,
    filled_in,
    load_strategy,
)
from trading_runtime.config.cycle_schema import SIMULATED, CycleSettings
from trading_runtime.config.load import LoadedCycleSettings, config_hash
from trading_runtime.config.runtime_target import runtime_target_obstacles
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.risk import RiskLimits
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import DAY_MS
from trading_runtime.core.treasury import treasury_terms
from trading_runtime.cycle.clock import Clock, SystemClock
from trading_runtime.cycle.context import Patience
from trading_runtime.cycle.job import Job
from trading_runtime.cycle.keeper import Stores
from trading_runtime.exchanges.port import Exchange, Feed
from trading_runtime.provenance import UNKNOWN, code_commit, image_digest, is_dirty, is_in_repository
from trading_runtime.source import strategy_code_hash
from trading_runtime.stores.control import Control
from trading_runtime.stores.documents import Documents
from trading_runtime.stores.journal import Journal
from trading_runtime.stores.lease import Lease
from trading_runtime.stores.open import open_documents
from trading_runtime.stores.overlay import OverlayDocuments
from trading_runtime.stores.published import open_ladder
from trading_runtime.stores.state_store import StateStore
from trading_runtime.telemetry.log import EventLog

if TYPE_CHECKING:
    from trading_runtime.exchanges.ccxt_exchange import CcxtExchange
    from trading_runtime.exchanges.credentials import Credentials

MODES = ("dry-run", "paper", "live")
ACKNOWLEDGEMENT = "TRADING_RUNTIME_LIVE_ACCOUNT"


class Parts(NamedTuple):
    """A job, and the store it works in, to be closed at the end."""

    job: Job
    documents: Documents


def open_parts(
    loaded: LoadedCycleSettings,
    mode: str,
    environment: Mapping[str, str],
    holder: str,
    log: EventLog,
    *,
    clock: Clock | None = None,
    base_url: str | None = None,
    may_open_account: bool = False,
) -> Parts:
    """Return the parts of a cycle; ``may_open_account`` lets a live one begin where the store knows no account.

    Raises ConfigurationError for what is missing, naming all of it in one line.
    """
    settings, folder = loaded.settings, loaded.folder
    obstacles = runtime_target_obstacles(settings, mode, environment)
    if mode == "live":
        obstacles += live_obstacles(settings, environment)
    if obstacles:
        what = "live trading" if mode == "live" else f"the {mode} cycle"
        raise ConfigurationError(f"{what} does not start: {'; '.join(obstacles)}")
    clock = clock if clock is not None else SystemClock()
    strategy = load_strategy(settings, folder)
    if strategy.needs_artifact and settings.artifact is None:
        raise ConfigurationError(
            f"artifact is missing: {type(strategy).__qualname__} consumes a publication, say which"
        )
    name = type(strategy).__qualname__
    account = settings.account.name
    live = None
    if mode == "live":
        # Before the store is opened: a start that is refused leaves no file behind.
        exchange = open_live_exchange(loaded, environment, clock, base_url)
        live = exchange, _configured_instruments(loaded, exchange.instruments)
    documents = open_store(settings, folder, is_copy=mode == "dry-run")
    with ExitStack() as opened:
        opened.callback(documents.close)
        stores = Stores(
            StateStore(documents, account, name),
            Journal(documents, account, name),
            Lease(documents, f"{account}.{name}", holder, settings.lease.seconds),
        )
        exchange, instruments = live or _open_exchange(loaded, mode, environment, documents, name, clock, base_url)
        terms = build_account(settings, instruments)
        risk = settings.risk
        job = Job(
            mode=mode,
            account=account,
            strategy=strategy,
            symbols=tuple(settings.market.symbols),
            timeframe=settings.market.timeframe,
            start_cash=terms.start_cash,
            exchange=exchange,
            stores=stores,
            control=Control(documents, account),
            clock=clock,
            log=log,
            identity=identity_of(settings, strategy, exchange.name),
            caps=terms.caps,
            permissions=terms.permissions,
            limits=RiskLimits(risk.drawdown_fraction_max, risk.daily_loss_fraction_max),
            patience=Patience(confirm_seconds=float(settings.placement.confirm_seconds)),
            missed_slots_max=risk.missed_slots_max,
            bar_age_ms_max=bar_age_ms_max(settings),
            may_open_account=may_open_account or mode != "live",
            publications=open_ladder(settings, folder, documents),
            degraded_entries=settings.artifact is not None and settings.artifact.allow_new_entries_on_degraded,
            treasury=treasury_terms(**asdict_of(settings.treasury)),
            has_all_funds=settings.account.funds == "all" and has_real_money(settings, mode, environment),
            adopt=tuple(settings.account.adopt),
        )
        opened.pop_all()  # nothing failed: whoever has the parts closes the store
    return Parts(job, documents)


def has_real_money(settings: CycleSettings, mode: str, environment: Mapping[str, str]) -> bool:
    """Whether a cycle sees the exchange's own account: live, and in a dry run with its credentials."""
    from trading_runtime.exchanges.credentials import credentials_from_environment

    if settings.market.exchange == SIMULATED or mode == "paper":
        return False
    return mode == "live" or credentials_from_environment(settings.market.exchange, environment) is not None


def live_obstacles(settings: CycleSettings, environment: Mapping[str, str]) -> list[str]:
    """Return what keeps live trading from starting, each with what to do; empty when nothing does."""
    from trading_runtime.exchanges.credentials import credentials_from_environment, variable_names

    found = []
    exchange, account = settings.market.exchange, settings.account.name
    if exchange == SIMULATED:
        found.append("market.exchange is simulated: name an exchange, or use --mode paper")
    if environment.get(ACKNOWLEDGEMENT, "").strip() != account:
        found.append(f"{ACKNOWLEDGEMENT} must name the account that may trade real money ({account})")
    if exchange != SIMULATED:
        try:
            if credentials_from_environment(exchange, environment) is None:
                found.append(f"{' and '.join(variable_names(exchange)[:2])} are missing")
        except ConfigurationError as error:
            found.append(str(error))
    if code_commit() == UNKNOWN:
        found.append("the commit of this code is unknown: run the image, or a git clone")
    elif is_dirty() is not False:
        found.append("the code differs from its commit: commit the changes, or check the commit out anew")
    if not is_in_repository() and image_digest() is None:
        found.append("TRADING_RUNTIME_IMAGE_DIGEST is missing: the manifest that starts the image names its digest")
    if settings.store.kind == "memory":
        found.append("store.kind memory forgets orders when the process ends: use sqlite or firestore")
    return found


def identity_of(settings: CycleSettings, strategy: Strategy, data_source: str) -> dict[str, Any]:
    """Return what a session is of: code, configuration, strategy, market. Another identity is another session."""
    kind = type(strategy)
    return {
        "commit": code_commit(),
        "dirty": is_dirty(),
        "image_digest": image_digest(),
        "config_hash": config_hash(settings),
        "strategy": {
            "class": f"{kind.__module__}:{kind.__qualname__}",
            "configured": str(settings.strategy["class"]),
            "parameters": strategy.params.to_json(),
            "code_hash": strategy_code_hash(kind),
        },
        "account": settings.account.name,
        "exchange": settings.market.exchange,
        "data_source": data_source,
        "execution": asdict(build_execution(settings)),
    }


class StoreCopy(OverlayDocuments):
    """A store that is read and never written, all writes staying in memory; with it the store itself is closed."""

    def __init__(self, documents: Documents) -> None:
        super().__init__(documents)
        self._documents = documents

    def close(self) -> None:
        self._documents.close()


def open_store(settings: CycleSettings, folder: Path, *, is_copy: bool = False, create: bool = True) -> Documents:
    """Return the configured store; with ``is_copy`` one that reads it and keeps all writes in memory."""
    store = settings.store
    path = folder / store.path
    if is_copy and store.kind == "sqlite" and not path.exists():
        return open_documents("memory")  # a dry run makes no file
    documents = open_documents(
        store.kind, path=path, project=store.project, database=store.database, prefix=store.prefix, create=create
    )
    if not is_copy:
        return documents
    return StoreCopy(documents)


def open_feed(
    loaded: LoadedCycleSettings, environment: Mapping[str, str], clock: Clock, base_url: str | None = None
) -> Feed:
    """Return where bars come from: files that are played back, or an exchange's public candles."""
    settings = loaded.settings
    name = feed_exchange(settings)
    if name is None:
        return _file_feed(loaded)
    return _ccxt(settings, name, None, clock, base_url)


def open_live_exchange(
    loaded: LoadedCycleSettings, environment: Mapping[str, str], clock: Clock, base_url: str | None = None
) -> Exchange:
    """Return the exchange itself, with the credentials of the environment if there are any. Nothing is asked of it."""
    from trading_runtime.exchanges.credentials import credentials_from_environment

    name = loaded.settings.market.exchange
    if name == SIMULATED:
        raise ConfigurationError("market.exchange is simulated: there is no exchange to ask")
    return _ccxt(loaded.settings, name, credentials_from_environment(name, environment), clock, base_url)


def _open_exchange(
    loaded: LoadedCycleSettings,
    mode: str,
    environment: Mapping[str, str],
    documents: Documents,
    strategy: str,
    clock: Clock,
    base_url: str | None,
) -> tuple[Exchange, Mapping[str, Instrument]]:
    """Return the exchange of a mode that trades no real money, and the instruments it trades."""
    settings = loaded.settings
    feed = open_feed(loaded, environment, clock, base_url)
    instruments = _instruments(loaded, feed, clock)
    lookup = partial(_instrument, settings, feed, clock)
    execution = build_execution(settings)
    if mode == "paper":
        from trading_runtime.exchanges.simulated import SimulatedExchange

        terms = build_account(settings, instruments)
        funding = build_funding(settings, loaded.folder, instruments, *_span(feed, settings))
        paper = SimulatedExchange(
            feed,
            documents,
            settings.account.name,
            strategy,
            instruments,
            execution,
            terms.start_cash,
            timeframe=settings.market.timeframe,
            funding=funding,
            lookup=lookup,
        )
        return paper, instruments
    from trading_runtime.cycle.dry_run import open_dry_run

    terms = build_account(settings, instruments)
    real = None
    if settings.market.exchange != SIMULATED:
        from trading_runtime.exchanges.credentials import credentials_from_environment

        credentials = credentials_from_environment(settings.market.exchange, environment)
        if credentials is not None:
            real = _ccxt(settings, settings.market.exchange, credentials, clock, base_url)
    timeframe = settings.market.timeframe
    dry = open_dry_run(feed, documents, terms, strategy, instruments, execution, timeframe, real, lookup)
    return dry, instruments


def _configured_instruments(
    loaded: LoadedCycleSettings, asked: Callable[[Sequence[str]], Mapping[str, Instrument]]
) -> Mapping[str, Instrument]:
    """Return the instruments of the configured symbols; a wrong one refuses the start. Where a store is there, one may
    be held whose market does not trade any more: whether it may be missing is the cycle's to say, but for the first.
    """
    settings = loaded.settings
    symbols = settings.market.symbols
    try:
        return asked(symbols)
    except ConfigurationError:
        store = settings.store
        if store.kind == "memory" or (store.kind == "sqlite" and not (loaded.folder / store.path).exists()):
            raise
        return asked(symbols[:1])


def _span(feed: Feed, settings: CycleSettings) -> tuple[int, int]:
    """Return the times between which funding may fall due: those of the files, else the last year and the next day."""
    from trading_runtime.exchanges.file_feed import FileFeed

    if isinstance(feed, FileFeed):
        spans = [feed.span(symbol, settings.market.timeframe) for symbol in feed.symbols]
        known = [span for span in spans if span is not None]
        if known:
            return min(first for first, _ in known), max(last for _, last in known)
    now_ms = feed.server_time_ms()
    return now_ms - 366 * DAY_MS, now_ms + DAY_MS


def _instruments(loaded: LoadedCycleSettings, feed: Feed, clock: Clock) -> Mapping[str, Instrument]:
    """Filters and fees: those of the exchange that is traded where it can be asked, else those of the settings."""
    settings = loaded.settings
    asked = getattr(feed, "instruments", None)
    if asked is None or settings.market.exchange == SIMULATED:
        return build_instruments(settings)
    now_ms = clock.now_ms()
    return {symbol: filled_in(settings, one, now_ms) for symbol, one in _configured_instruments(loaded, asked).items()}


def _instrument(settings: CycleSettings, feed: Feed, clock: Clock, symbol: str) -> Instrument:
    """Return the instrument of a symbol that is not among the configured ones: a publication's, or one still held.
    Raises ConfigurationError when there are no bars of it.
    """
    from trading_runtime.exchanges.file_feed import FileFeed

    asked = getattr(feed, "instruments", None)
    if asked is not None and settings.market.exchange != SIMULATED:
        return filled_in(settings, asked([symbol])[symbol], clock.now_ms())
    if isinstance(feed, FileFeed) and symbol not in feed.symbols:
        raise ConfigurationError(f"no file in feed.files holds {symbol}")
    return build_instrument(settings, symbol)


def _ccxt(
    settings: CycleSettings, name: str, credentials: Credentials | None, clock: Clock, base_url: str | None
) -> CcxtExchange:
    from trading_runtime.exchanges.ccxt_exchange import CcxtExchange

    return CcxtExchange(
        name,
        settings.market.symbols,
        credentials=credentials,
        sandbox=settings.market.sandbox,
        base_url=base_url if base_url is not None else settings.market.base_url,
        validity_window_ms=settings.placement.validity_window_ms,
        timeout_seconds=float(settings.placement.request_seconds),
        clock=clock,
    )


def _file_feed(loaded: LoadedCycleSettings) -> Feed:
    from trading_runtime.config.cycle_build import build_feed_bars
    from trading_runtime.exchanges.file_feed import FileFeed
    from trading_runtime.exchanges.plain_csv import read_plain_csv

    settings = loaded.settings
    start_ms = feed_start_ms(settings)
    files = build_feed_files(settings, loaded.folder)
    plain = [read_plain_csv(one.path, one.settings.symbol, one.settings.timeframe) for one in files]
    found = [bars for bars in plain if bars is not None]
    held, wanted = {bars.symbol for bars in found}, set(settings.market.symbols)
    is_complete = held >= wanted if settings.artifact is not None else held == wanted
    if len(found) < len(files) or not is_complete:
        whole, _ = build_feed_bars(settings, loaded.folder)
        found = list(whole.values())
    return FileFeed(found, start_ms=start_ms, timeframe=settings.market.timeframe)
