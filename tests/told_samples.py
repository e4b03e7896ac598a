"""Reports to tell of: by hand with the facts of the live-pool strategy, and of real cycles at the venue."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from cycle_world import HOUR_MS, START_MS, World
from recorded_sessions import entries_of, journal_of

from trading_runtime.core.intents import close, market
from trading_runtime.core.orders import client_order_id
from trading_runtime.core.refusals import Refusal
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.report import CycleReport, happened_json

SLOT = 1_773_532_800_000  # 2026-03-15T00:00:00Z
ETH_ORDER = client_order_id("main", "LivePool", "ETH/USDT", SLOT, "trend_buy")
BTC_ORDER = client_order_id("main", "LivePool", "BTC/USDT", SLOT, "dca_buy")

# The numbers of the original's replay fixture.
FACTS: dict[str, Any] = {
    "pool": {
        "version": "2026-03-10-core_major",
        "as_of_date": "2026-03-10",
        "source_kind": "fresh_upstream",
        "degraded": False,
        "official": ["ETHUSDT", "SOLUSDT", "LTCUSDT"],
        "execution": ["ETH/USDT", "SOL/USDT", "LTC/USDT"],
        "retired": [],
    },
    "allocation": {
        "equity": 1030.0,
        "btc_ratio": 0.15568539844,
        "trend_value": 0.0,
        "btc_value": 0.0,
        "trend_cash": 869.644039603279,
        "btc_cash": 130.355960396721,
        "base_order": 15.0,
    },
    "btc": {"price": 60000.0, "ahr999": 0.7, "zscore": 1.2, "sell_trigger": 2.5, "regime_on": True},
    "candidates": [
        {"symbol": "ETH/USDT", "selected": True, "reasons": [], "relative_score": 4.5, "weight": 0.555556},
        {"symbol": "SOL/USDT", "selected": True, "reasons": [], "relative_score": 2.6, "weight": 0.444444},
        {"symbol": "LTC/USDT", "selected": False, "reasons": ["relative_score_lte_zero"], "relative_score": -0.725},
    ],
    "breaker": {"day": "2026-03-15", "profit": 0.0, "base": 869.644, "profit_fraction": 0.0, "latched": False,
                "tripped": False},
    "intents": {
        "ETH/USDT trend_buy": {"category": "trend", "action": "buy", "symbol": "ETH/USDT", "quantity": 0.19,
                               "budget": 483.135577557, "weight": 0.555556, "relative_score": 4.5, "price": 2500.0,
                               "reason": "selected"},
        "BTC/USDT dca_buy": {"category": "btc_dca", "action": "buy", "symbol": "BTC/USDT", "quantity": 0.0004,
                             "budget": 30.0, "ahr999": 0.7, "price": 60000.0, "reason": "ahr999_low"},
    },
}  # fmt: skip


def order_of(order_id: str, symbol: str, leg: str, quantity: int) -> dict[str, Any]:
    """An order as ``Order.to_json`` writes it."""
    return {"order_id": order_id, "symbol": symbol, "kind": "market", "side": 1, "quantity": quantity, "slot": SLOT,
            "leg": leg}  # fmt: skip


def fill_of(order_id: str, symbol: str, quantity: str, price: float) -> dict[str, Any]:
    return {"order_id": order_id, "symbol": symbol, "side": "buy", "quantity": quantity, "price": price, "value": "0",
            "fee": "0", "fees": [], "time": None, "is_maker": False}  # fmt: skip


def decision_of(facts: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A decision of a report: buys ETH and BTC, one refusal."""
    return {
        "slot": iso_time(SLOT),
        "intents": [
            {"symbol": "ETH/USDT", "kind": "market", "side": "buy", "leg": "trend_buy", "quantity": 0.19},
            {"symbol": "BTC/USDT", "kind": "market", "side": "buy", "leg": "dca_buy", "quantity": 0.0004},
        ],
        "cancels": [],
        "orders": [
            order_of(ETH_ORDER, "ETH/USDT", "trend_buy", 19_000_000),
            order_of(BTC_ORDER, "BTC/USDT", "dca_buy", 40_000),
        ],
        "refusals": [
            {"gate": "trend_buy_below_min_budget", "category": "trend", "symbol": "SOL/USDT", "leg": "trend_buy",
             "detail": "budget 9.1, not more than 15"},
        ],
        "reasons": [],
        "facts": deepcopy(FACTS) if facts is None else facts,
        **changes,
    }  # fmt: skip


def sent_and_filled(order_id: str, symbol: str, leg: str, quantity: str) -> list[dict[str, Any]]:
    """What ``happened_json`` tells of an order that went well."""
    order = {"order_id": order_id, "symbol": symbol, "leg": leg, "kind": "market", "side": "buy", "quantity": quantity,
             "price": None}  # fmt: skip
    return [
        {"event": "order_planned", "phase": "planned", **order},
        {"event": "order_claimed", "order_id": order_id, "attempt": 1},
        {"event": "order_placed", **order},
        {"event": "order_filled", "order_id": order_id},
    ]


def report_of(**changes: Any) -> CycleReport:
    """The report of a live cycle that bought ETH and BTC."""
    report = CycleReport("run-1", "live", "main", "LivePool", {"commit": "0" * 40}, slot=SLOT)
    report.decisions = [decision_of()]
    report.fills = [fill_of(ETH_ORDER, "ETH/USDT", "0.19", 2500.0), fill_of(BTC_ORDER, "BTC/USDT", "0.0004", 60000.0)]
    report.happened = [
        *sent_and_filled(ETH_ORDER, "ETH/USDT", "trend_buy", "0.19"),
        *sent_and_filled(BTC_ORDER, "BTC/USDT", "dca_buy", "0.0004"),
    ]
    report.equity = {"currency": "USDT", "equity": "1029.5", "cash": "530.5", "flows": "0", "positions": []}
    for name, value in changes.items():
        assert hasattr(report, name), name
        setattr(report, name, value)
    return report


class Telling(Strategy):
    """Tells facts and refusals like the live-pool strategy; buys in every fifth hour, sells in the next."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        hour = inputs.as_of // HOUR_MS
        is_degraded = hour % 24 in (3, 4, 5, 9)
        facts = deepcopy(FACTS)
        facts["pool"] |= {"degraded": is_degraded, "source_kind": "static" if is_degraded else "fresh_upstream"}
        refusals = [
            Refusal(
                "btc_dca_buy_valuation_gate_off", "btc_dca", inputs.symbol, "dca_buy", f"ahr999 1.3 at hour {hour}"
            ),
            Refusal("odd", "", "", "", "of no section"),
        ]
        if is_degraded:
            refusals.append(Refusal("trend_buy_paused_degraded_mode", "trend", "", "trend_buy", "static"))
        if hour % 5:
            refusals.append(Refusal("trend_no_selected_candidate", "trend", "", "trend_buy", f"pool size 5, {hour}"))
        if inputs.position > 0.0:
            intents = [close(inputs.symbol, 1.0, leg="trend_sell", reason="rotated_out")]
            return Proposal(intents, refusals=refusals, facts=facts)
        if hour % 5 == 0:
            intents = [market(inputs.symbol, "buy", notional=1000.0, leg="trend_buy", reason="selected")]
            facts["intents"] = {f"{inputs.symbol} trend_buy": {"category": "trend", "action": "buy", "budget": 1000.0,
                                "weight": 0.5, "relative_score": 2.25, "reason": "selected"}}  # fmt: skip
            return Proposal(intents, refusals=refusals, facts=facts)
        return Proposal(refusals=refusals, facts=facts)


def with_happened(world: World, report: CycleReport, first_entry: int) -> CycleReport:
    """Return the report with the account's entries of its cycle, as the journal has them from ``first_entry`` on."""
    events = [
        event
        for entry in entries_of(journal_of(world))
        if entry.kind == "events" and entry.sequence >= first_entry
        for event in entry.content["events"]
    ]
    report.happened = happened_json(events, world.exchange().instruments(world.symbols))
    return report


def told_cycle(world: World, slot: int = START_MS, **options: Any) -> CycleReport:
    """Run one cycle of a world and return its report, with what happened to the account."""
    journal = journal_of(world)
    sessions = journal.sessions()
    first = journal.head(sessions[-1]).sequence + 1 if sessions else 0
    return with_happened(world, world.cycle(slot, **options), first)
