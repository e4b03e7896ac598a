"""One account of the venue: keys, spot balances, savings, the wallet and positions of perpetuals, and its past."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

from .market import UNIT, VenueMarket
from .orders import ZERO, VenueOrder, VenueTrade
from .savings import EarnRecord, Holding, Reward, Transfer

# What paying commission in BNB takes off it on spot (Binance's fee schedule).
BNB_FACTOR = Decimal("0.75")


class VenuePosition:
    """A perpetual's position in one-way mode: signed quantity, and its signed value at entry."""

    __slots__ = ("cost", "quantity")

    def __init__(self) -> None:
        self.quantity = ZERO
        self.cost = ZERO

    def fill(self, side: int, quantity: Decimal, value: Decimal) -> Decimal:
        """Book a fill and return the profit it realised, exactly: realised minus the change of cost is the money."""
        signed = side * quantity
        if self.quantity * signed >= 0:
            self.quantity += signed
            self.cost += side * value
            return ZERO
        closing = min(quantity, abs(self.quantity))
        closing_value = value if closing == quantity else (value * closing / quantity).quantize(UNIT)
        released = self.cost if closing == abs(self.quantity) else (
            self.cost * closing / abs(self.quantity)
        ).quantize(UNIT)  # fmt: skip
        self.cost += side * (value - closing_value) - released
        self.quantity += signed
        return -side * closing_value - released

    @property
    def entry_price(self) -> Decimal:
        return self.cost / self.quantity if self.quantity else ZERO


class Income(NamedTuple):
    """What came into the futures wallet (negative: went out) that is no trade: funding."""

    income_id: int
    symbol: str
    kind: str
    amount: Decimal
    time_ms: int


class VenueAccount:
    """``free`` and ``locked`` are spot balances by asset, ``holdings`` savings, ``wallet`` those of USD-M futures."""

    def __init__(
        self,
        name: str = "main",
        *,
        spot: Mapping[str, str] | None = None,
        futures: Mapping[str, str] | None = None,
        api_key: str | None = None,
        api_secret: str | None = None,
        pays_fees_in_bnb: bool = False,
        leverage: int = 20,
        can_trade: bool = True,
    ) -> None:
        self.name = name
        self.api_key = f"key-of-{name}" if api_key is None else api_key
        self.api_secret = f"secret-of-{name}" if api_secret is None else api_secret
        self.free: dict[str, Decimal] = {asset: Decimal(amount) for asset, amount in (spot or {}).items()}
        self.locked: dict[str, Decimal] = {}
        self.wallet: dict[str, Decimal] = {asset: Decimal(amount) for asset, amount in (futures or {}).items()}
        self.positions: dict[str, VenuePosition] = {}
        self.pays_fees_in_bnb = pays_fees_in_bnb
        self.leverage = leverage
        self.can_trade = can_trade
        self.orders: dict[str, list[VenueOrder]] = {}
        self.trades: dict[str, list[VenueTrade]] = {}
        self.incomes: list[Income] = []
        self.holdings: dict[str, Holding] = {}
        self.earn_records: list[EarnRecord] = []
        self.earn_on_the_way: list[EarnRecord] = []
        self.earned_at: dict[str, int] = {}
        self.rewards: list[Reward] = []
        self.transfers: list[Transfer] = []
        self.transfers_on_the_way: list[Transfer] = []
        self.by_client_id: dict[tuple[str, str, bool], list[VenueOrder]] = {}
        self.by_order_id: dict[tuple[str, int], VenueOrder] = {}

    def position(self, symbol: str) -> Decimal:
        held = self.positions.get(symbol)
        return held.quantity if held is not None else ZERO

    def lock(self, order: VenueOrder, asset: str, amount: Decimal) -> None:
        self.free[asset] = self.free.get(asset, ZERO) - amount
        self.locked[asset] = self.locked.get(asset, ZERO) + amount
        order.locked += amount

    def unlock(self, order: VenueOrder, asset: str, amount: Decimal) -> None:
        self.free[asset] = self.free.get(asset, ZERO) + amount
        self.locked[asset] = self.locked.get(asset, ZERO) - amount
        order.locked -= amount

    def commission(
        self,
        market: VenueMarket,
        bnb: VenueMarket | None,
        *,
        side: int,
        quantity: Decimal,
        value: Decimal,
        rate: Decimal,
    ) -> tuple[str, Decimal]:
        """Return (asset, amount): what is received pays on spot, quote on perpetuals, BNB where set and enough."""
        if market.is_perpetual:
            return market.quote, (value * rate).quantize(UNIT, ROUND_DOWN)
        if self.pays_fees_in_bnb and bnb is not None:
            amount = (value * rate * BNB_FACTOR / bnb.price).quantize(UNIT, ROUND_DOWN)
            if self.free.get("BNB", ZERO) >= amount and market.base != "BNB":
                return "BNB", amount
        if side > 0:
            return market.base, (quantity * rate).quantize(UNIT, ROUND_DOWN)
        return market.quote, (value * rate).quantize(UNIT, ROUND_DOWN)
