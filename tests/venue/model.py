"""The exchange itself: what it refuses, what it takes, and what it tells of it afterwards.

Faults are not its business; ``NewOrder`` only says how an order fills and how late it shows. How orders are matched is
in ``matching``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from trading_runtime.core.bars import Bars

from .account import Income, VenueAccount
from .market import VenueMarket
from .matching import Matching
from .orders import (
    CONDITIONAL_KINDS,
    PERPETUAL_KINDS,
    SPOT_KINDS,
    ZERO,
    NewOrder,
    VenueError,
    VenueOrder,
    VenueTrade,
)
from .savings import Savings

_FORGOTTEN_MS = 3 * 86_400_000


class Venue(Matching):
    """Spot and USD-M perpetual markets and the accounts on them.

    accepted                   every order that was ever taken, in that order: what a test counts
    triggered_keeps_client_id  whether the order that a triggered conditional order of a perpetual sends carries its
                               client id; the worse answer is the default
    refuses_open_client_ids    whether a client id of an open order is refused (Binance) or taken again (Bitfinex)
    bars_delay_ms              how long after its close a bar is published
    savings                    flexible savings, deposits and withdrawals of all accounts
    holes                      open times, by symbol, of candles that there never were
    stopped                    symbols whose market is in a break: it trades nothing and tells no filters
    """

    def __init__(
        self, now_ms: Callable[[], int], markets: Iterable[VenueMarket], accounts: Iterable[VenueAccount]
    ) -> None:
        super().__init__(now_ms, markets, accounts)
        self.bars: dict[tuple[str, str], Bars] = {}
        self.bars_delay_ms = 0
        self.refuses_open_client_ids = True
        self._income_ids = 0
        self.savings = Savings(now_ms, self.accounts)
        self.stopped: set[str] = set()
        self.holes: dict[str, set[int]] = {}

    # What a test does

    def set_price(self, symbol: str, price: str | Decimal) -> None:
        """Trade at this price: resting limits that it reaches fill at theirs, triggers go off. A market that has
        stopped has no other price.
        """
        if symbol in self.stopped:
            return
        market = self.markets[symbol]
        market.price = Decimal(price)
        self.match(market)

    def tick(self) -> None:
        """Match all markets at the prices they have: orders that fill in parts go on."""
        for market in self.markets.values():
            self.match(market)

    def pay_funding(self, symbol: str, rate: str) -> None:
        """Let every position of the perpetual pay ``rate`` of its value; a positive rate costs the longs."""
        market = self.markets[symbol]
        for account in self.accounts.values():
            quantity = account.position(symbol)
            if quantity:
                amount = -quantity * market.price * Decimal(rate)
                account.wallet[market.quote] = account.wallet.get(market.quote, ZERO) + amount
                self._income_ids += 1
                account.incomes.append(Income(self._income_ids, symbol, "FUNDING_FEE", amount, self.now_ms()))

    def set_bars(self, bars: Bars) -> None:
        """Publish candles, those of the future when they close."""
        self.bars[bars.symbol, bars.timeframe] = bars

    def count_by_client_id(self, account: str | None = None) -> Counter[str]:
        """Return how many orders were really taken under each client id, triggered ones not counted again."""
        return Counter(
            order.client_id
            for order in self.accepted
            if order.parent is None and (account is None or order.account == account)
        )

    # What an account asks

    def place(self, account_name: str, new: NewOrder) -> VenueOrder:
        """Take an order and match what matches now; raises VenueError."""
        account, market = self.accounts[account_name], self._market(new.symbol)
        self.savings.settle(account_name)
        if not account.can_trade:
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if new.symbol in self.stopped:
            raise VenueError(-1013, "Market is closed.")
        is_algo = market.is_perpetual and new.kind in CONDITIONAL_KINDS
        _check_form(market, new)
        self._check_duplicate(account, market, new, is_algo)
        market.check(new)
        if new.kind in CONDITIONAL_KINDS and self.reached(new.kind, new.side, new.stop_price, market.price):
            if market.is_perpetual:
                raise VenueError(-2021, "Order would immediately trigger.")
            raise VenueError(-2010, "Stop price would trigger immediately.")
        self._check_taking(market, new)
        self.check_funds(account, market, new)
        order = self.take(account, new, is_algo)
        if not market.is_perpetual:
            self.lock(account, market, order)
        if order.is_triggered:
            self.first_match(account, market, order)
        return order

    def record(self, account_name: str, new: NewOrder, status: str) -> VenueOrder:
        """Keep an order that ends in the moment it arrives, for venues that record what others refuse."""
        order = self.take(self.accounts[account_name], new, is_algo=False)
        self.end(order, status)
        return order

    def cancel(
        self, account_name: str, symbol: str, order_id: int | None, client_id: str, *, is_algo: bool = False
    ) -> VenueOrder:
        """End an open order; raises VenueError -2011 when there is none. The newest of a client id is meant."""
        account = self.accounts[account_name]
        self._market(symbol)
        if order_id is not None:
            found = account.by_order_id.get((symbol, order_id))
            candidates = [found] if found is not None and found.is_algo == is_algo else []
        else:
            candidates = account.by_client_id.get((symbol, client_id, is_algo), [])[-1:]
        for order in candidates:
            if order.is_open:
                self.end(order, "CANCELED")
                return order
        raise VenueError(-2011, "Unknown order sent.")

    def order(
        self, account_name: str, symbol: str, order_id: int | None, client_id: str, *, is_algo: bool = False
    ) -> VenueOrder:
        """Return the order as far as it is visible, the newest of its client id; raises VenueError -2013."""
        account, now = self.accounts[account_name], self.now_ms()
        self._market(symbol)
        if order_id is not None:
            found = account.by_order_id.get((symbol, order_id))
            candidates = [found] if found is not None and found.is_algo == is_algo else []
        else:
            candidates = account.by_client_id.get((symbol, client_id, is_algo), [])
        for order in reversed(candidates):
            if order.invisible_until_ms <= now and not self._is_forgotten(order, now):
                return order
        raise VenueError(-2013, "Order does not exist.")

    def open_orders(
        self, account_name: str, *, is_perpetual: bool, symbol: str | None = None, is_algo: bool | None = None
    ) -> list[VenueOrder]:
        """Return the visible open orders of one kind of market; ``is_algo`` None is both kinds of order."""
        now = self.now_ms()
        return [
            order
            for name, book in self.open.items()
            if book and self.markets[name].is_perpetual == is_perpetual and symbol in (None, name)
            for order in book.values()
            if order.account == account_name and order.invisible_until_ms <= now and is_algo in (None, order.is_algo)
        ]

    def trades(
        self, account_name: str, symbol: str, *, order_id: int | None = None, since_ms: int | None = None
    ) -> list[VenueTrade]:
        """Return the visible trades of an order or of a market, oldest first."""
        now = self.now_ms()
        self._market(symbol)
        account = self.accounts[account_name]
        if order_id is not None:
            order = account.by_order_id.get((symbol, order_id))
            found: Sequence[VenueTrade] = order.trades if order is not None else ()
        else:
            found = account.trades.get(symbol, ())
        return [
            trade for trade in found if trade.visible_from_ms <= now and (since_ms is None or trade.time_ms >= since_ms)
        ]

    # What is refused

    def _market(self, symbol: str) -> VenueMarket:
        market = self.markets.get(symbol)
        if market is None:
            raise VenueError(-1121, "Invalid symbol.")
        return market

    def _check_duplicate(self, account: VenueAccount, market: VenueMarket, new: NewOrder, is_algo: bool) -> None:
        """A client id is taken while an order under it is open, and free again after that, as Binance documents."""
        known = account.by_client_id.get((new.symbol, new.client_id, is_algo)) if new.client_id else None
        if known is not None and self.refuses_open_client_ids and any(order.is_open for order in known):
            if market.is_perpetual:
                raise VenueError(-4116, "ClientOrderId is duplicated.")
            raise VenueError(-2010, "Duplicate order sent.")

    def _check_taking(self, market: VenueMarket, new: NewOrder) -> None:
        if new.kind not in ("LIMIT", "LIMIT_MAKER") or new.price is None:
            return
        if not self.takes(market, new.side, new.price):
            if new.time_in_force == "FOK" and market.is_perpetual:
                raise VenueError(
                    -5021,
                    "Due to the order could not be filled immediately, the FOK order has been rejected. "
                    "The order will not be recorded in the order history",
                )
            return
        if new.kind == "LIMIT_MAKER":
            raise VenueError(-2010, "Order would immediately match and take.")
        if new.time_in_force == "GTX":
            raise VenueError(
                -5022,
                "Due to the order could not be executed as maker, the Post Only order will be rejected. "
                "The order will not be recorded in the order history",
            )

    def _is_forgotten(self, order: VenueOrder, now: int) -> bool:
        """USD-M shows an order that ended without a trade no longer than three days (its "Query Order" page)."""
        return (
            order.status in ("CANCELED", "EXPIRED")
            and not order.executed
            and order.time_ms + _FORGOTTEN_MS < now
            and self.markets[order.symbol].is_perpetual
        )


def _check_form(market: VenueMarket, new: NewOrder) -> None:
    """Raise VenueError for an order that is not one of this market's, or lacks what its kind needs."""
    if new.kind not in (PERPETUAL_KINDS if market.is_perpetual else SPOT_KINDS):
        raise VenueError(-1116, "Invalid orderType.")
    if new.time_in_force not in (("GTC", "IOC", "FOK", "GTX") if market.is_perpetual else ("GTC", "IOC", "FOK")):
        raise VenueError(-1115, "Invalid timeInForce.")
    needs_price = new.kind in ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT", "STOP") or (
        market.is_perpetual and new.kind == "TAKE_PROFIT"
    )
    for name, value, is_needed in (
        ("price", new.price, needs_price),
        ("stopPrice", new.stop_price, new.kind in CONDITIONAL_KINDS),
    ):
        if is_needed and value is None:
            raise VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        if not is_needed and value is not None:
            raise VenueError(-1106, f"Parameter '{name}' sent when not required.")
