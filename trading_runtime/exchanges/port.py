"""The port to an exchange: what a cycle asks and tells it, in exact decimals, and how each answer may fail.

    question fails          ExchangeUnavailable   (retried inside the adapter, limited in attempts and seconds)
    place: exchange refused NotPlaced             (certain: there is no such order)
    place: anything else    FateUnknown           (timeout, 5xx, cut connection, an answer that makes no sense)

An adapter never repeats ``place`` or ``cancel``. Credentials that are missing or refused are ConfigurationError. No
secret and no signed address is ever part of an error's text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import TradingRuntimeError
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.state import Order

# From one time to another, milliseconds: [start, end).
Interval = tuple[int, int]
Status = Literal["open", "filled", "cancelled", "expired", "rejected"]


class NotPlaced(TradingRuntimeError):
    """The exchange certainly has no such order. ``reason`` is one word for the journal:

    rejected      it does not want this order: final
    duplicate     it has one under this id already: ask for that one
    too_late      the request was older than its validity window
    rate_limit    too many requests; ``retry_seconds`` says when to come back, if known
    post_only     a post-only order that would have taken
    funds         not enough money or coins
    filters       quantity, price or value against the market's filters
    unreachable   no connection came about: not one byte was sent
    """

    def __init__(self, reason: str, message: str, *, retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_seconds = retry_seconds


class Capabilities(NamedTuple):
    """What an exchange can do.

    validity_window_ms      a request whose stamp is older is refused by the exchange; None: it knows no such window
    all_open_orders         open orders can be asked for without naming a symbol
    kinds                   kinds of orders that may rest there
    reduce_only             whether orders can be marked so (contracts)
    keeps_brackets          children, bars_max and fallback of an order are the exchange's business (simulated)
    """

    validity_window_ms: int | None
    all_open_orders: bool
    kinds: frozenset[str]
    reduce_only: bool
    keeps_brackets: bool


class Balance(NamedTuple):
    """One asset of the account: ``total`` includes what open orders lock."""

    free: Decimal
    total: Decimal


class OrderReport(NamedTuple):
    """What the exchange says about one order. ``filled`` is cumulative, in base units.

    ``client_order_id`` is empty for an order that was placed without one. ``successor`` is the order that took its
    place by the exchange's own doing: only where ``keeps_brackets``.
    """

    client_order_id: str
    exchange_order_id: str
    symbol: str
    side: int
    kind: str
    quantity: Decimal
    filled: Decimal
    price: float | None
    status: Status
    reduce_only: bool
    time_ms: int
    reason: str = ""
    successor: Order | None = None


class Fee(NamedTuple):
    """What a fill cost, in whatever asset the exchange took it; negative is a rebate."""

    asset: str
    amount: Decimal


class Trade(NamedTuple):
    """One fill of one of the account's orders. ``trade_id`` is unique within its symbol; ``value`` is in quote money;
    trades are in the order they happened when sorted by (time_ms, sequence).
    """

    trade_id: str
    sequence: int
    client_order_id: str
    exchange_order_id: str
    symbol: str
    side: int
    quantity: Decimal
    price: float
    value: Decimal
    fees: tuple[Fee, ...]
    time_ms: int
    is_maker: bool


class FundingPayment(NamedTuple):
    """A perpetual's funding: ``amount`` in quote money, positive when the account paid."""

    payment_id: str
    symbol: str
    amount: Decimal
    time_ms: int


EarnKind = Literal["subscribe", "redeem"]
FlowKind = Literal["deposit", "withdrawal", "interest"]


class EarnProduct(NamedTuple):
    """A flexible savings product of one asset: money in it earns interest and can be had back at any time."""

    product_id: str
    asset: str
    can_subscribe: bool
    can_redeem: bool
    subscribe_minimum: Decimal


class EarnOperation(NamedTuple):
    """Money that was moved into a product or out of it, as the exchange's own history tells it."""

    operation_id: str
    kind: EarnKind
    asset: str
    amount: Decimal
    status: Literal["done", "pending", "failed"]
    time_ms: int


class CashFlow(NamedTuple):
    """Money that came in (positive) or went out (negative) and is no trading result. ``flow_id`` is unique within its
    kind. A withdrawal's amount includes its fee; one that was refused or sent back is not told.
    """

    flow_id: str
    kind: FlowKind
    asset: str
    amount: Decimal
    time_ms: int


class Savings(Protocol):
    """What an exchange offers for money that is not needed right now. Only spot accounts have it.

    Moving money is money-neutral: what left the spot balance is in the product's position. It knows no client ids: an
    operation is recognised in the exchange's history by kind, asset, exact amount and time.
    """

    def earn_product(self, asset: str) -> EarnProduct | None:
        """Return the flexible product of ``asset``, None when there is none. Raises ExchangeUnavailable."""
        ...

    def earn_position(self, asset: str) -> Decimal:
        """Return what is in the product by now, accrued interest included. Raises ExchangeUnavailable."""
        ...

    def move_earn(self, kind: EarnKind, product: EarnProduct, amount: Decimal, stamp_ms: int) -> str:
        """Move ``amount`` in or out, once, stamped with ``stamp_ms``; return the exchange's id of the operation.

        Fails as ``Exchange.place`` does: NotPlaced for what certainly did not happen, FateUnknown for all else.
        """
        ...

    def earn_operations(self, kind: EarnKind, asset: str, since_ms: int) -> list[EarnOperation]:
        """Return the operations of one kind from ``since_ms`` on, oldest first. Raises ExchangeUnavailable."""
        ...

    def cash_flows(self, asset: str, since_ms: int) -> list[CashFlow]:
        """Return deposits, withdrawals and interest of ``asset`` from ``since_ms`` on, oldest first. Raises
        ExchangeUnavailable.
        """
        ...


class Feed(Protocol):
    """Where closed bars come from."""

    @property
    def name(self) -> str:
        """What the journal calls this source: an exchange's id, or the files' names."""
        ...

    def server_time_ms(self) -> int:
        """Return the time by the source's own clock."""
        ...

    def newest_close(self, timeframe: str, after: int | None) -> int | None:
        """Return the close time of the newest closed bar; None when none is newer than ``after``.

        A source that plays back history returns the bar that follows ``after``, or its first one.
        """
        ...

    def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
        """Return the ``count`` closed bars of which the last closed at ``close_ms``, or fewer when the symbol is
        younger; raises DataError when the newest is not there yet, one is missing or one cannot be.
        """
        ...


@runtime_checkable
class StillFeed(Protocol):
    """A feed whose markets may stand still for a while, which leaves gaps between its bars."""

    def bars_over(self, symbol: str, timeframe: str, count: int, close_ms: int, still: Sequence[Interval]) -> Bars:
        """Return what ``Feed.bars`` does, but bars that are missing within ``still`` are flat at the close before them,
        of volume 0: there was no other price. Raises as ``Feed.bars``.
        """
        ...


def bars_over(feed: Feed, symbol: str, timeframe: str, count: int, close_ms: int, still: Sequence[Interval]) -> Bars:
    """Return closed bars of a feed, over the intervals in which the market stood still; raises as ``Feed.bars``."""
    if still and isinstance(feed, StillFeed):
        return feed.bars_over(symbol, timeframe, count, close_ms, still)
    return feed.bars(symbol, timeframe, count, close_ms)


class Exchange(Feed, Protocol):
    """An account at an exchange. One instance serves one process; it may keep connections, never decisions."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def savings(self) -> Savings | None:
        """Where money that is not needed earns interest; None where there is no such thing."""
        ...

    def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return filters and fees as they are now; raises ConfigurationError for a symbol that is not traded."""
        ...

    def balances(self) -> Mapping[str, Balance]:
        """Return every asset that is not zero."""
        ...

    def positions(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return the signed quantity of each perpetual that is not flat; spot is in the balances."""
        ...

    def open_orders(self, symbols: Sequence[str]) -> list[OrderReport]:
        """Return all open orders of the account where ``all_open_orders``, else those of ``symbols``."""
        ...

    def order(self, order: Order) -> OrderReport | None:
        """Ask for an order by its client order id; None when the exchange knows no such order. ``order`` is what was or
        would have been sent: symbol and kind say where to ask.
        """
        ...

    def place(self, order: Order, stamp_ms: int) -> OrderReport:
        """Send one order, once, stamped with ``stamp_ms`` (the exchange's time at which it was claimed)."""
        ...

    def cancel(self, order: Order, stamp_ms: int) -> None:
        """Ask to end an order, once. Returns also when there is none to end: ``order`` tells what became of it. Raises
        FateUnknown when it is not known whether the request arrived.
        """
        ...

    def trades(self, report: OrderReport) -> list[Trade]:
        """Return the fills of one order that the exchange shows by now, in the order they happened."""
        ...

    def trades_since(self, symbol: str, since_ms: int) -> list[Trade]:
        """Return the account's fills in ``symbol`` from ``since_ms`` on, in the order they happened."""
        ...

    def funding_since(self, symbol: str, since_ms: int) -> list[FundingPayment]:
        """Return funding payments from ``since_ms`` on; none for spot."""
        ...

    def quote_price(self, asset: str, quote: str) -> float | None:
        """Return what one ``asset`` costs in ``quote`` right now, None when there is no such market: for fees."""
        ...
