"""One market of the venue: its filters as Binance names them, its fees, its price and how deep its book is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .orders import CONDITIONAL_KINDS, MARKET_KINDS, NewOrder, VenueError

ZERO = Decimal(0)
UNIT = Decimal("0.00000001")


class VenueMarket:
    """A spot market ``BTC/USDT`` or a USD-M perpetual ``BTC/USDT:USDT``, from the decimal strings an exchange gives.

    ``depth`` says what a taking order meets: (fraction of it, ticks worse than the price), each level a trade of its
    own. The bid lies ``half_spread`` below the price, the ask as much above.
    """

    def __init__(
        self,
        symbol: str,
        price: str,
        *,
        tick: str = "0.01",
        lot: str = "0.00001",
        quantity_minimum: str | None = None,
        quantity_maximum: str = "9000",
        market_quantity_maximum: str = "1000",
        price_maximum: str = "1000000",
        notional_minimum: str = "5",
        maker_fee_rate: str = "0.001",
        taker_fee_rate: str = "0.001",
        half_spread: str = "0",
        depth: tuple[tuple[str, int], ...] = (("1", 0),),
    ) -> None:
        pair, colon, _ = symbol.partition(":")
        self.symbol = symbol
        self.base, _, self.quote = pair.partition("/")
        self.is_perpetual = bool(colon)
        self.id = self.base + self.quote
        self.price = Decimal(price)
        self.tick, self.lot = Decimal(tick), Decimal(lot)
        self.quantity_minimum = self.lot if quantity_minimum is None else Decimal(quantity_minimum)
        self.quantity_maximum = Decimal(quantity_maximum)
        self.market_quantity_maximum = Decimal(market_quantity_maximum)
        self.price_minimum, self.price_maximum = self.tick, Decimal(price_maximum)
        self.notional_minimum = Decimal(notional_minimum)
        self.maker_fee_rate, self.taker_fee_rate = Decimal(maker_fee_rate), Decimal(taker_fee_rate)
        self.half_spread = Decimal(half_spread)
        self.depth = tuple((Decimal(fraction), ticks) for fraction, ticks in depth)

    @property
    def bid(self) -> Decimal:
        return self.price - self.half_spread

    @property
    def ask(self) -> Decimal:
        return self.price + self.half_spread

    def whole_lots(self, quantity: Decimal) -> Decimal:
        """Return the quantity rounded down to lots."""
        return quantity - quantity % self.lot

    def check(self, order: NewOrder) -> None:
        """Raise VenueError, Binance's code for what the filters forbid; spot and USD-M word it differently."""
        if self.is_perpetual:
            self._check_perpetual(order)
        else:
            self._check_spot(order)

    def _check_spot(self, order: NewOrder) -> None:
        for price in (order.price, order.stop_price):
            if price is not None and (not self.price_minimum <= price <= self.price_maximum or price % self.tick):
                raise VenueError(-1013, "Filter failure: PRICE_FILTER")
        if not self.quantity_minimum <= order.quantity <= self.quantity_maximum or order.quantity % self.lot:
            raise VenueError(-1013, "Filter failure: LOT_SIZE")
        if order.kind in MARKET_KINDS and order.quantity > self.market_quantity_maximum:
            raise VenueError(-1013, "Filter failure: MARKET_LOT_SIZE")
        if order.quantity * self._worth(order) < self.notional_minimum:
            raise VenueError(-1013, "Filter failure: NOTIONAL")

    def _check_perpetual(self, order: NewOrder) -> None:
        for price in (order.price, order.stop_price):
            if price is None:
                continue
            if price < self.price_minimum:
                raise VenueError(-4013, f"Price less than min price {self.price_minimum}.")
            if price > self.price_maximum:
                raise VenueError(-4002, "Price greater than max price.")
            if price % self.tick:
                raise VenueError(-4014, "Price not increased by tick size.")
        maximum = self.market_quantity_maximum if order.kind in MARKET_KINDS else self.quantity_maximum
        if order.quantity <= 0:
            raise VenueError(-4003, "Quantity less than or equal to zero.")
        if order.quantity % self.lot:
            raise VenueError(-1111, "Precision is over the maximum defined for this asset.")
        if order.quantity < self.quantity_minimum:
            raise VenueError(-4004, "Quantity less than min quantity.")
        if order.quantity > maximum:
            raise VenueError(-4005, "Quantity greater than max quantity.")
        if not order.reduce_only and order.quantity * self._worth(order) < self.notional_minimum:
            raise VenueError(
                -4164,
                f"Order's notional must be no smaller than {self.notional_minimum} (unless you choose reduce only).",
            )

    def _worth(self, order: NewOrder) -> Decimal:
        """The price that a notional filter values an order at."""
        if order.price is not None:
            return order.price
        if order.kind in CONDITIONAL_KINDS and order.stop_price is not None:
            return order.stop_price
        return self.price

    def taking_price(self, side: int, ticks: int) -> Decimal:
        """What a taking order pays or gets, ``ticks`` behind the best price."""
        best = self.ask if side > 0 else self.bid
        return max(best + side * ticks * self.tick, self.tick)


def make_markets(**changes: Any) -> list[VenueMarket]:
    """BTC, ETH and BNB against USDT on spot, BTC and ETH as perpetuals, with filters like the real ones; ``changes``
    apply to all.
    """
    spot = {
        "BTC/USDT": {"price": "50000", "tick": "0.01", "lot": "0.00001"},
        "ETH/USDT": {"price": "2500", "tick": "0.01", "lot": "0.0001"},
        "BNB/USDT": {"price": "500", "tick": "0.01", "lot": "0.001"},
    }
    perpetual = {
        "BTC/USDT:USDT": {"price": "50000", "tick": "0.10", "lot": "0.001", "notional_minimum": "100"},
        "ETH/USDT:USDT": {"price": "2500", "tick": "0.01", "lot": "0.001", "notional_minimum": "20"},
    }
    fees = {"maker_fee_rate": "0.0002", "taker_fee_rate": "0.0005"}
    markets: list[VenueMarket] = []
    for symbol, settings in spot.items():
        markets.append(VenueMarket(symbol, **{**settings, **changes}))
    for symbol, settings in perpetual.items():
        markets.append(VenueMarket(symbol, **{**settings, **fees, **changes}))
    return markets
