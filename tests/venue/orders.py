"""What is asked of the venue and what it keeps: new orders, orders, trades, refusals. Words are Binance's."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

ZERO = Decimal(0)
MARKET_KINDS = frozenset(("MARKET", "STOP_LOSS", "TAKE_PROFIT", "STOP_MARKET", "TAKE_PROFIT_MARKET"))
SPOT_KINDS = frozenset(
    ("LIMIT", "MARKET", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
)
PERPETUAL_KINDS = frozenset(("LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"))
STOP_KINDS = frozenset(("STOP_LOSS", "STOP_LOSS_LIMIT", "STOP", "STOP_MARKET"))
TAKE_PROFIT_KINDS = frozenset(("TAKE_PROFIT", "TAKE_PROFIT_LIMIT", "TAKE_PROFIT_MARKET"))
CONDITIONAL_KINDS = STOP_KINDS | TAKE_PROFIT_KINDS
OPEN_STATUSES = frozenset(("NEW", "PARTIALLY_FILLED"))


class VenueError(Exception):
    """The venue says no: Binance's error code and text, and the HTTP status it comes with."""

    def __init__(self, code: int, message: str, status: int = 400, retry_seconds: int | None = None) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = status
        self.retry_seconds = retry_seconds


class NewOrder(NamedTuple):
    """A request for an order. ``side`` is +1 or -1, ``kind`` Binance's type, ``stop_price`` the trigger.

    The last four are the test's: what parts fill when, and how late questions show it.
    """

    symbol: str
    side: int
    kind: str
    quantity: Decimal
    client_id: str = ""
    price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: str = "GTC"
    reduce_only: bool = False
    fractions: tuple[Decimal, ...] = ()
    rest_expires: bool = False
    invisible_ms: int = 0
    trades_late_ms: int = 0


class VenueTrade(NamedTuple):
    """One fill: ``commission`` in ``commission_asset``, ``realised`` profit of a perpetual's closing part in quote."""

    trade_id: int
    order: VenueOrder
    price: Decimal
    quantity: Decimal
    value: Decimal
    commission: Decimal
    commission_asset: str
    is_maker: bool
    realised: Decimal
    time_ms: int
    visible_from_ms: int


class VenueOrder:
    """One order that was accepted, with what became of it.

    A conditional order of a perpetual lives in a service of its own (``is_algo``) and, when triggered, sends the
    matching engine an order with an id of its own: ``spawned``, whose ``parent`` it is.
    """

    __slots__ = (
        "account", "client_id", "executed", "fractions", "invisible_until_ms", "is_algo", "is_triggered", "kind",
        "locked", "order_id", "parent", "price", "quantity", "reduce_only", "rest_expires", "side", "spawned", "status",
        "stop_price", "symbol", "time_in_force", "time_ms", "trades", "trades_late_ms", "update_ms", "value",
    )  # fmt: skip

    def __init__(self, order_id: int, account: str, new: NewOrder, now_ms: int, *, is_algo: bool) -> None:
        self.order_id = order_id
        self.account = account
        self.client_id = new.client_id
        self.symbol = new.symbol
        self.side = new.side
        self.kind = new.kind
        self.quantity = new.quantity
        self.price = new.price
        self.stop_price = new.stop_price
        self.time_in_force = new.time_in_force
        self.reduce_only = new.reduce_only
        self.fractions = new.fractions
        self.rest_expires = new.rest_expires
        self.invisible_until_ms = now_ms + new.invisible_ms
        self.trades_late_ms = new.trades_late_ms
        self.status = "NEW"
        self.executed = ZERO
        self.value = ZERO
        self.locked = ZERO
        self.is_algo = is_algo
        self.is_triggered = new.kind not in CONDITIONAL_KINDS
        self.spawned: VenueOrder | None = None
        self.parent: VenueOrder | None = None
        self.trades: list[VenueTrade] = []
        self.time_ms = now_ms
        self.update_ms = now_ms

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed

    def __repr__(self) -> str:
        side = "buy" if self.side > 0 else "sell"
        return (
            f"<{self.order_id} {self.client_id} {side} {self.quantity} {self.symbol} {self.kind} "
            f"{self.status} {self.executed}>"
        )
