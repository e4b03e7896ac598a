"""An account that the live pool decides for: prices, columns and artifacts by hand, fills and restarts by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from market_samples import BTC, ETH, HOUR_MS, MONEY, SOL, make_bars, make_instrument

from trading_runtime.core.decision import Decision, Identity
from trading_runtime.core.gates import Caps, Guards
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.money import fee_amount, quote_value
from trading_runtime.core.slot import SlotInputs, decide_slot, decision_to_json, slot_inputs_from_json
from trading_runtime.core.state import (
    CashMoved,
    Order,
    OrderFilled,
    OrderPlaced,
    SlotDecided,
    State,
    apply,
    state_from_json,
)
from trading_runtime.core.strategy import Permissions
from trading_runtime.strategies.crypto_live_pool_rotation import CryptoLivePoolRotation

BNB, XRP, LTC, BCH = "BNB/USDT", "XRP/USDT", "LTC/USDT", "BCH/USDT"
POOL = (ETH, SOL, XRP, LTC, BCH)
NOON = 1_773_532_800_000 + 12 * HOUR_MS  # 2026-03-15T12:00:00Z
DAY_MS = 24 * HOUR_MS
PRICES = {BTC: 60_000.0, ETH: 2_500.0, SOL: 150.0, XRP: 1.2, LTC: 100.0, BCH: 420.0, BNB: 300.0}
LOTS = {BTC: "0.0001", ETH: "0.001", SOL: "0.01", XRP: "0.1", LTC: "0.01", BCH: "0.001", BNB: "0.001"}
OWNER = Identity("main", "CryptoLivePoolRotation")
# BTC rises and is neither cheap enough to buy nor dear enough to trim.
CALM = {
    "btc_ma200": 50_000.0, "btc_ma200_slope": 0.02, "btc_roc20": 0.05, "btc_roc60": 0.10, "btc_roc120": 0.15,
    "btc_geom200": 40_000.0, "btc_zscore": 1.2, "btc_sell_trigger": 2.5,
}  # fmt: skip
# One symbol that qualifies, relative to its price; the rates of change are absolute.
STRONG = {
    "sma20": 0.9, "sma60": 0.8, "sma200": 0.7, "roc20": 0.3, "roc60": 0.4, "roc120": 0.5, "vol20": 0.05, "atr14": 0.04,
}  # fmt: skip
WEAK = {**STRONG, "roc20": 0.0, "roc60": 0.0, "roc120": 0.0}
RELATIVE = ("sma20", "sma60", "sma200", "atr14")


def publication(symbols: Sequence[str] = POOL, **changed: Any) -> dict[str, Any]:
    """An artifact as a decision sees it: fresh, from upstream, unless told otherwise."""
    return {
        "source_kind": "fresh_upstream", "degraded": False, "new_entries": True, "version": "2026-03-10-core_major",
        "as_of_date": "2026-03-10", "mode": "core_major", "source_project": "upstream",
        "official_symbols": [symbol.replace("/", "") for symbol in symbols], "symbols": list(symbols), "excluded": {},
        **changed,
    }  # fmt: skip


def degraded(symbols: Sequence[str] = POOL, **changed: Any) -> dict[str, Any]:
    return publication(symbols, **{"source_kind": "last_known_good", "degraded": True, "new_entries": False, **changed})


class World:
    """Prices, indicators and the account of one strategy; everything a decision sees has been through JSON.

    ``own`` are a symbol's indicators, those of ``RELATIVE`` as multiples of its price at the start; ``columns`` are
    those of BTC; None is a missing one.
    """

    def __init__(
        self,
        cash: float = 10_000.0,
        *,
        symbols: Sequence[str] = (BTC, *POOL, BNB),
        own: Mapping[str, Mapping[str, float | None]] | None = None,
        columns: Mapping[str, float | None] | None = None,
        parameters: Mapping[str, Any] | None = None,
        fee_rate: float = 0.0,
        lots: Mapping[str, str] | None = None,
    ) -> None:
        self.symbols = list(symbols)
        self.prices = dict(PRICES)
        self.columns: dict[str, float | None] = {**CALM, **(columns or {})}
        self.own: dict[str, dict[str, float | None]] = {symbol: self.indicators(symbol, WEAK) for symbol in PRICES}
        for symbol, values in (own or {}).items():
            self.own[symbol] = self.indicators(symbol, values)
        self.instruments = {
            symbol: make_instrument(symbol, lot=lot, tick="0.00000001", taker_fee_rate=fee_rate)
            for symbol, lot in {**LOTS, **(lots or {})}.items()
        }
        self.strategy = CryptoLivePoolRotation(parameters)
        self.fee_rate = fee_rate
        self.state = State(round(cash * MONEY))
        self.slot = NOON
        self.new_risk = True

    def indicators(self, symbol: str, values: Mapping[str, float | None]) -> dict[str, float | None]:
        price = self.prices[symbol]
        return {
            name: value * price if name in RELATIVE and value is not None else value
            for name, value in {**STRONG, **values}.items()
        }

    def given(self, artifact: Any, slot: int | None = None) -> SlotInputs:
        when = self.slot if slot is None else slot
        bars = {
            symbol: make_bars([(self.prices[symbol],) * 4], symbol=symbol, start_ms=when - HOUR_MS)
            for symbol in self.symbols
        }
        own = {name: [self.own[symbol][name] for symbol in self.symbols] for name in STRONG}
        return SlotInputs(
            when, bars, self.state, {symbol: self.instruments[symbol] for symbol in self.symbols}, OWNER,
            Permissions(new_risk=self.new_risk), Caps(), Guards(), artifact, columns={**self.columns, **own},
        )  # fmt: skip

    def decide(self, artifact: Any = "fresh", slot: int | None = None) -> Decision:
        """Decide and change nothing; decides twice and from JSON, which must be the same."""
        given = self.given(publication() if artifact == "fresh" else artifact, slot)
        decision = decide_slot(self.strategy, given)
        back = slot_inputs_from_json(json.loads(canonical_json(given.to_json())), given.bars)
        again = decide_slot(CryptoLivePoolRotation(self.strategy.params.to_json()), back)
        assert canonical_json(decision_to_json(again)) == canonical_json(decision_to_json(decision))
        return decision

    def step(self, artifact: Any = "fresh", *, fills: bool = True, hours: int = 1) -> Decision:
        """Decide, keep the state, fill what was ordered at the prices of the slot (or nothing of it), and go on."""
        decision = self.decide(artifact)
        self.keep(decision)
        for order in decision.orders if fills else ():
            self.fill(order)
        self.slot += hours * HOUR_MS
        self.restart()
        return decision

    def keep(self, decision: Decision) -> None:
        self.state = apply(self.state, SlotDecided(decision.slot, json.loads(canonical_json(decision.strategy_state))))

    def restart(self) -> None:
        self.state = state_from_json(json.loads(canonical_json(self.state.to_json())))

    def fill(self, order: Order, share: float = 1.0) -> None:
        quantity = int(order.quantity * share)
        price = self.prices[order.symbol]
        value = quote_value(price, quantity, self.instruments[order.symbol].value_per_unit)
        fee = fee_amount(value, self.fee_rate)
        self.state = apply(
            self.state, OrderFilled(order.order_id, order.symbol, order.side, quantity, price, value, fee)
        )

    def hold(self, symbol: str, quantity: float, entry_price: float | None = None) -> None:
        """Have bought ``quantity`` at ``entry_price`` (by default the present one) with money that came for it."""
        instrument = self.instruments[symbol]
        units = instrument.quantity_units(quantity)
        price = self.prices[symbol] if entry_price is None else entry_price
        value = quote_value(price, units, instrument.value_per_unit)
        self.state = apply(self.state, CashMoved(value, "deposit"))
        self.state = apply(self.state, OrderFilled("earlier", symbol, 1, units, price, value, 0))

    def sell(self, symbol: str, share: float = 1.0) -> None:
        """A sale that the strategy did not ask for, of a share of what is held, without a fee."""
        units = int(self.state.quantity(symbol) * share)
        value = quote_value(self.prices[symbol], units, self.instruments[symbol].value_per_unit)
        self.state = apply(self.state, OrderFilled("sale", symbol, -1, units, self.prices[symbol], value, 0))

    def move_cash(self, amount: float, reason: str = "deposit") -> None:
        self.state = apply(self.state, CashMoved(round(amount * MONEY), reason))

    def leave_open(self, order: Order) -> None:
        self.state = apply(self.state, OrderPlaced(order))

    def quantity(self, symbol: str) -> float:
        return self.instruments[symbol].quantity_float(self.state.quantity(symbol))


def orders(decision: Decision) -> list[tuple[str, str, int]]:
    """(symbol, leg, side) in the order of placement."""
    return [(order.symbol, order.leg, order.side) for order in decision.orders]


def gates(decision: Decision) -> list[str]:
    return [refusal.gate for refusal in decision.refusals]


def gate(decision: Decision, name: str) -> Any:
    found = [refusal for refusal in decision.refusals if refusal.gate == name]
    assert len(found) == 1, decision.refusals
    return found[0]


def reasons_of(decision: Decision, symbol: str) -> list[str]:
    """The reasons for which a symbol of the pool does not qualify."""
    return next(one["reasons"] for one in decision.facts["candidates"] if one["symbol"] == symbol)
