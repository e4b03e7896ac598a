"""Both sides of the parity test: a backtest in one process, and cycles through a store, told in the same words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from venue.clock import VirtualClock

from trading_runtime.backtest.engine import Account, run_general
from trading_runtime.backtest.market import Market
from trading_runtime.backtest.trace import Decided, Fill
from trading_runtime.core.bars import Bars
from trading_runtime.core.fills import Execution
from trading_runtime.core.gates import Caps
from trading_runtime.core.instruments import Instrument, make_rules, split_symbol
from trading_runtime.core.ledger import Position
from trading_runtime.core.strategy import Permissions, Strategy
from trading_runtime.cycle.account import account_from_json
from trading_runtime.cycle.job import Job
from trading_runtime.cycle.keeper import Stores
from trading_runtime.cycle.run import run_cycle
from trading_runtime.data.files import load_bars
from trading_runtime.exchanges.file_feed import FileFeed
from trading_runtime.exchanges.simulated import SimulatedExchange
from trading_runtime.stores.control import Control
from trading_runtime.stores.journal import Journal
from trading_runtime.stores.lease import Lease
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.state_store import StateStore
from trading_runtime.telemetry.log import EventLog

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "market-data" / "btc-perp-1m-2022-01.csv.gz"
SLOTS = 2_000
UNIT = 10**8
CASH = 100_000 * UNIT
EXECUTION = Execution(slippage_fraction=0.0005)
_QUIET = EventLog(level="off")


class Told(NamedTuple):
    """What happened: decisions with an intent, fills in order, and the ledger after every slot that changed it."""

    decisions: list[Any]
    fills: list[Any]
    ledger: list[Any]


def real_bars(symbols: int) -> dict[str, Bars] | None:
    """Real one-minute candles where they are at hand, else None: another stretch of them for every name."""
    if not REAL.exists():
        return None
    return _stretches(load_bars(REAL, symbol="BTC/USDT:USDT", timeframe="1m").bars, symbols)


def bundled_bars(symbols: int) -> dict[str, Bars]:
    """The bundled candles instead."""
    return _stretches(load_bars(ROOT / "tests/data/parts/BTC-USDT-1h.parquet").bars, symbols)


def _stretches(bars: Bars, symbols: int) -> dict[str, Bars]:
    found = {}
    for index, name in enumerate(("BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/USDT")[:symbols]):
        part = bars.slice(index * 3_000, index * 3_000 + SLOTS + 300)
        times = bars.open_time[: len(part)]
        found[name] = Bars(name, part.timeframe, times, part.open, part.high, part.low, part.close, part.volume)
    return found


def instruments_of(bars: Mapping[str, Bars]) -> dict[str, Instrument]:
    found = {}
    for symbol in bars:
        base, quote, kind = split_symbol(symbol)
        unit = Decimal("0.00000001")
        rules = make_rules(
            quantity_unit=unit,
            quote_unit=unit,
            tick="0.0001",
            lot="0.00001",
            quantity_minimum="0.00001",
            notional_minimum="5",
            maker_fee_rate=0.001,
            taker_fee_rate=0.001,
        )
        found[symbol] = Instrument(symbol, kind, base, quote, unit, unit, (rules,))
    return found


def backtest_of(strategy: Strategy, bars: Mapping[str, Bars]) -> Told:
    market = Market(bars, instruments_of(bars), EXECUTION)
    trace = run_general(market, strategy, Account(CASH, Caps(), Permissions(), "main"))
    decisions, fills, ledger = [], [], []
    positions: dict[str, Position] = {}
    cash = CASH
    by_bar: dict[int, list[Fill]] = {}
    for entry in trace.entries:
        if isinstance(entry, Decided) and (entry.orders or entry.refusals):
            decisions.append(_decision(entry.slot, entry.intents, entry.orders, entry.refusals, entry.reasons))
        elif isinstance(entry, Fill):
            by_bar.setdefault(entry.bar, []).append(entry)
    for bar in sorted(by_bar):
        for fill in by_bar[bar]:
            order = fill.order
            fills.append(
                [market.close_time(bar), order.order_id, order.side, fill.quantity, fill.price, fill.value, fill.fee]
            )
            position = positions.get(order.symbol) or Position(order.symbol)
            positions[order.symbol] = position.filled(order.side, fill.quantity, fill.value, fill.fee)
            cash -= order.side * fill.value + fill.fee
        ledger.append([cash, {symbol: one.to_json() for symbol, one in positions.items()}])
    return Told(decisions, fills, ledger)


def cycles_of(
    make: Callable[[], Strategy], bars: Mapping[str, Bars], slots: int, documents: MemoryDocuments | None = None
) -> Told:
    """Run one cycle per slot, every object made anew from the store for each."""
    documents = MemoryDocuments() if documents is None else documents
    strategy = make()
    name = type(strategy).__qualname__
    some = next(iter(bars.values()))
    first = min(int(one.open_time[0]) for one in bars.values()) + strategy.bars_needed(some.bar_ms) * some.bar_ms
    last = max(int(one.open_time[-1]) for one in bars.values()) + some.bar_ms
    instruments = instruments_of(bars)
    feed = FileFeed(list(bars.values()), start_ms=first)
    decisions, fills, ledger = [], [], []
    count = 0
    for slot in range(first, last + 1, some.bar_ms):
        clock = VirtualClock(slot + 1_000)
        paper = SimulatedExchange(feed, documents, "main", name, instruments, EXECUTION, CASH, timeframe=some.timeframe)
        job = Job(
            mode="paper",
            account="main",
            strategy=make(),
            symbols=tuple(bars),
            timeframe=some.timeframe,
            start_cash=CASH,
            exchange=paper,
            stores=Stores(
                StateStore(documents, "main", name),
                Journal(documents, "main", name),
                Lease(documents, f"main.{name}", f"process-{slot}", 60.0),
            ),
            control=Control(documents, "main"),
            clock=clock,
            log=_QUIET,
            identity={"commit": "0" * 40},
        )
        report = run_cycle(job, slot, f"run-{slot}")
        assert report.status == "done", report.to_json()
        saved = StateStore(documents, "main", name).load()
        assert saved is not None
        account = account_from_json(saved.content)
        count += 1
        for one in report.decisions:
            if one["orders"] or one["refusals"]:
                decisions.append({**one, "slot": slot})
        if report.fills:
            state = account.state
            held = {symbol: one.to_json() for symbol, one in state.positions.items()}
            ledger.append([state.cash, held])
    assert count >= slots, f"only {count} slots"
    journal = Journal(documents, "main", name)
    for entry in journal.entries(journal.sessions()[0]):
        if entry.kind == "events":
            fills += [_fill(event) for event in entry.content["events"] if event["event"] == "order_filled"]
    return Told([_plain(one) for one in decisions], fills, ledger)


def _fill(event: Mapping[str, Any]) -> list[Any]:
    return [event[name] for name in ("time_ms", "order_id", "side", "quantity", "price", "value", "fee")]


def _decision(slot: int, intents: Any, orders: Any, refusals: Any, reasons: Any) -> dict[str, Any]:
    return {
        "slot": slot,
        "intents": [one.to_json() for one in intents],
        "orders": [one.to_json() for one in orders],
        "refusals": [one.to_json() for one in refusals],
        "reasons": list(reasons),
    }


def _plain(decision: Mapping[str, Any]) -> dict[str, Any]:
    return {name: decision[name] for name in ("slot", "intents", "orders", "refusals", "reasons")}
