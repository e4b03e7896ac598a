"""How the venue matches: orders against a price that moves, trades into accounts, and what ends an order.

No network, no clock of its own, no randomness: what happens follows from the calls and ``now_ms``. Who may place what
is the business of ``model``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from .account import VenueAccount, VenuePosition
from .market import VenueMarket
from .orders import (
    CONDITIONAL_KINDS,
    MARKET_KINDS,
    STOP_KINDS,
    ZERO,
    NewOrder,
    VenueError,
    VenueOrder,
    VenueTrade,
)

# Algo orders have ids of their own; starting elsewhere shows who mixes them up.
_ALGO_IDS = 2_000_000_000_000


class Matching:
    """The markets, the accounts and the open orders of a venue, moved by ``match``.

    A limit order that rests fills at its own price once the price reaches it, a stop at the price that set it off.
    There is no liquidation and no market impact beyond a market's ``depth``.
    """

    def __init__(
        self, now_ms: Callable[[], int], markets: Iterable[VenueMarket], accounts: Iterable[VenueAccount]
    ) -> None:
        self.now_ms = now_ms
        self.markets = {market.symbol: market for market in markets}
        self.accounts = {account.name: account for account in accounts}
        self.accepted: list[VenueOrder] = []
        self.open: dict[str, dict[int, VenueOrder]] = {symbol: {} for symbol in self.markets}
        self.triggered_keeps_client_id = False
        self._order_ids = 1_000
        self._trade_ids: dict[str, int] = {}

    def futures_free(self, account: VenueAccount) -> Decimal:
        """Return what a futures account may still use as margin, in USDT: wallet plus unrealised profit minus what
        positions and open orders bind.
        """
        free = sum(account.wallet.values(), ZERO)
        for symbol, position in account.positions.items():
            if position.quantity:
                value = position.quantity * self.markets[symbol].price
                free += value - position.cost - abs(value) / account.leverage
        for symbol, book in self.open.items():
            if self.markets[symbol].is_perpetual:
                for order in book.values():
                    if order.account == account.name and not order.is_algo and not order.reduce_only:
                        free -= order.remaining * (order.price or self.markets[symbol].price) / account.leverage
        return free

    def check_funds(self, account: VenueAccount, market: VenueMarket, new: NewOrder) -> None:
        if market.is_perpetual:
            held = account.position(new.symbol)
            if new.reduce_only and new.kind not in CONDITIONAL_KINDS and held * new.side >= 0:
                raise VenueError(-2022, "ReduceOnly Order is rejected.")
            opening = abs(held + new.side * new.quantity) - abs(held)
            if not new.reduce_only and opening > 0:
                price = new.price or market.price
                fee = new.quantity * price * market.taker_fee_rate
                if opening * price / account.leverage + fee > self.futures_free(account):
                    raise VenueError(-2019, "Margin is insufficient.")
            return
        asset, amount = self._binding(market, new.side, new.kind, new.quantity, new.price, new.stop_price)
        if amount > account.free.get(asset, ZERO):
            raise VenueError(-2010, "Account has insufficient balance for requested action.")

    def _binding(
        self, market: VenueMarket, side: int, kind: str, quantity: Decimal, price: Decimal | None, stop: Decimal | None
    ) -> tuple[str, Decimal]:
        """Return (asset, amount) that a spot order needs: what it sells, or at most pays."""
        if side < 0:
            return market.base, quantity
        if kind == "MARKET":
            return market.quote, sum((portion * level for portion, level in self.levels(market, side, quantity)), ZERO)
        worst = price if price is not None else stop
        assert worst is not None  # the form was checked
        return market.quote, quantity * worst

    def lock(self, account: VenueAccount, market: VenueMarket, order: VenueOrder) -> None:
        if order.kind != "MARKET":
            asset, amount = self._binding(market, order.side, order.kind, order.quantity, order.price, order.stop_price)
            account.lock(order, asset, amount)

    def take(self, account: VenueAccount, new: NewOrder, is_algo: bool) -> VenueOrder:
        self._order_ids += 1
        order_id = self._order_ids + (_ALGO_IDS if is_algo else 0)
        if not new.client_id:
            new = new._replace(client_id=f"web_{order_id}")
        order = VenueOrder(order_id, account.name, new, self.now_ms(), is_algo=is_algo)
        self.accepted.append(order)
        self.open[order.symbol][order_id] = order
        account.orders.setdefault(order.symbol, []).append(order)
        account.by_client_id.setdefault((order.symbol, order.client_id, is_algo), []).append(order)
        account.by_order_id[order.symbol, order_id] = order
        return order

    def match(self, market: VenueMarket) -> None:
        book = self.open[market.symbol]
        for order in list(book.values()):
            if order.order_id not in book:  # ended by what an earlier one did
                continue
            account = self.accounts[order.account]
            if not order.is_triggered:
                if self.reached(order.kind, order.side, order.stop_price, market.price):
                    self._trigger(account, market, order)
            elif order.kind in MARKET_KINDS:
                self._fill(account, market, order, is_maker=False)
            elif order.price is not None and self.takes(market, order.side, order.price):
                self._fill(account, market, order, is_maker=True)

    def first_match(self, account: VenueAccount, market: VenueMarket, order: VenueOrder) -> None:
        """Match an order that has just come (or was just triggered) and keep its time in force."""
        takes = order.kind in MARKET_KINDS or (order.price is not None and self.takes(market, order.side, order.price))
        if order.time_in_force == "FOK" and (not takes or (order.fractions and order.fractions[0] < 1)):
            self.end(order, "EXPIRED")
            return
        if takes:
            self._fill(account, market, order, is_maker=False)
        if order.is_open and (order.time_in_force == "IOC" or (takes and order.rest_expires)):
            self.end(order, "EXPIRED")

    def _trigger(self, account: VenueAccount, market: VenueMarket, order: VenueOrder) -> None:
        order.is_triggered = True
        order.update_ms = self.now_ms()
        if not order.is_algo:
            self.first_match(account, market, order)
            return
        kind = "MARKET" if order.kind in MARKET_KINDS and order.price is None else "LIMIT"
        self.end(order, "TRIGGERED")
        new = NewOrder(
            order.symbol, order.side, kind, order.quantity, order.client_id if self.triggered_keeps_client_id else "",
            order.price, None, order.time_in_force if kind == "LIMIT" else "GTC", order.reduce_only,
            order.fractions, order.rest_expires, 0, order.trades_late_ms,
        )  # fmt: skip
        try:
            self.check_funds(account, market, new)
        except VenueError:
            order.status = "REJECTED"
            return
        spawned = self.take(account, new, is_algo=False)
        order.spawned, spawned.parent = spawned, order
        self.first_match(account, market, spawned)

    def _fill(self, account: VenueAccount, market: VenueMarket, order: VenueOrder, *, is_maker: bool) -> None:
        quantity = self._portion(market, order)
        if order.reduce_only and market.is_perpetual:
            quantity = min(quantity, max(-order.side * account.position(order.symbol), ZERO))
        if not quantity:
            self.end(order, "EXPIRED")
            return
        if is_maker and order.price is not None:
            levels = [(quantity, order.price)]
        else:
            levels = self.levels(market, order.side, quantity, order.price)
        for portion, price in levels:
            if not self._book(account, market, order, portion, price, is_maker):
                self.end(order, "EXPIRED")
                return
        if order.executed == order.quantity:
            self.end(order, "FILLED")
        elif order.reduce_only and market.is_perpetual and not account.position(order.symbol):
            self.end(order, "EXPIRED")
        else:
            order.status = "PARTIALLY_FILLED"
        if market.is_perpetual and not account.position(order.symbol):
            self._expire_reducing(account, order.symbol)

    def _portion(self, market: VenueMarket, order: VenueOrder) -> Decimal:
        """Return how much of an order fills at this match: the next of its fractions, else all that is left."""
        if not order.fractions:
            return order.remaining
        fraction, order.fractions = order.fractions[0], order.fractions[1:]
        return min(max(market.whole_lots(order.quantity * fraction), market.lot), order.remaining)

    def levels(
        self, market: VenueMarket, side: int, quantity: Decimal, limit: Decimal | None = None
    ) -> list[tuple[Decimal, Decimal]]:
        """Return (quantity, price) of the trades that a taking order makes, none worse than its limit."""
        levels: list[tuple[Decimal, Decimal]] = []
        left = quantity
        for number, (fraction, ticks) in enumerate(market.depth):
            is_last = number == len(market.depth) - 1
            portion = left if is_last else min(market.whole_lots(quantity * fraction), left)
            if not portion:
                continue
            price = market.taking_price(side, ticks)
            if limit is not None and (price - limit) * side > 0:
                price = limit
            levels.append((portion, price))
            left -= portion
        return levels

    def _book(
        self,
        account: VenueAccount,
        market: VenueMarket,
        order: VenueOrder,
        quantity: Decimal,
        price: Decimal,
        is_maker: bool,
    ) -> bool:
        """Make a trade; False when the money for it is not there (only an order without a price can come to that)."""
        value = quantity * price
        rate = market.maker_fee_rate if is_maker else market.taker_fee_rate
        asset, commission = account.commission(
            market, self.markets.get(f"BNB/{market.quote}"), side=order.side, quantity=quantity, value=value, rate=rate
        )
        realised = ZERO
        if market.is_perpetual:
            position = account.positions.setdefault(order.symbol, VenuePosition())
            realised = position.fill(order.side, quantity, value)
            account.wallet[market.quote] = account.wallet.get(market.quote, ZERO) + realised
            account.wallet[asset] = account.wallet.get(asset, ZERO) - commission
        else:
            gives, gets = (market.quote, market.base) if order.side > 0 else (market.base, market.quote)
            pays, receives = (value, quantity) if order.side > 0 else (quantity, value)
            if order.kind != "MARKET":
                worst = order.price if order.price is not None else order.stop_price
                assert worst is not None
                account.unlock(order, gives, min(order.locked, quantity * worst if order.side > 0 else quantity))
            if pays > account.free.get(gives, ZERO):
                return False
            account.free[gives] = account.free.get(gives, ZERO) - pays
            account.free[gets] = account.free.get(gets, ZERO) + receives
            account.free[asset] = account.free.get(asset, ZERO) - commission
        self._trade_ids[order.symbol] = trade_id = self._trade_ids.get(order.symbol, 0) + 1
        now = self.now_ms()
        trade = VenueTrade(
            trade_id, order, price, quantity, value, commission, asset, is_maker, realised, now,
            max(now + order.trades_late_ms, order.invisible_until_ms),
        )  # fmt: skip
        order.trades.append(trade)
        account.trades.setdefault(order.symbol, []).append(trade)
        order.executed += quantity
        order.value += value
        order.update_ms = now
        return True

    def end(self, order: VenueOrder, status: str) -> None:
        order.status = status
        order.update_ms = self.now_ms()
        self.open[order.symbol].pop(order.order_id, None)
        if order.locked:
            market = self.markets[order.symbol]
            asset = market.quote if order.side > 0 else market.base
            self.accounts[order.account].unlock(order, asset, order.locked)

    def _expire_reducing(self, account: VenueAccount, symbol: str) -> None:
        """A closed position takes its resting reduce-only orders with it; conditional ones wait in their service."""
        for order in list(self.open[symbol].values()):
            if order.account == account.name and order.reduce_only and not order.is_algo:
                self.end(order, "EXPIRED")

    @staticmethod
    def takes(market: VenueMarket, side: int, price: Decimal) -> bool:
        return price >= market.ask if side > 0 else price <= market.bid

    @staticmethod
    def reached(kind: str, side: int, stop: Decimal | None, price: Decimal) -> bool:
        if stop is None:
            return False
        upwards = (side > 0) == (kind in STOP_KINDS)
        return price >= stop if upwards else price <= stop
