"""What happened to an account since a time: trades and funding, over as many questions as an exchange needs."""

from __future__ import annotations

from functools import partial

from trading_runtime.core.errors import ExchangeUnavailable
from trading_runtime.exchanges.ccxt_reports import trades_of
from trading_runtime.exchanges.connection import Connection
from trading_runtime.exchanges.dialect import Dialect
from trading_runtime.exchanges.port import FundingPayment, Trade

# More questions about one symbol mean that somebody asks for years.
_WINDOWS_MAX = 400
# Trades and payments may be stamped a little after the time at which we ask.
_AHEAD_MS = 60_000


def trades_since(connection: Connection, dialect: Dialect, symbol: str, since_ms: int) -> list[Trade]:
    """Return the account's trades in the order they happened. Their client order ids are empty: no list tells them."""
    found: dict[str, Trade] = {}
    for start_ms, end_ms in _windows(connection, dialect, symbol, since_ms):
        _add_trades(found, connection, dialect, symbol, start_ms, end_ms)
    ours = [trade for trade in found.values() if trade.time_ms >= since_ms]
    return sorted(ours, key=lambda trade: (trade.time_ms, trade.sequence))


def funding_since(connection: Connection, dialect: Dialect, symbol: str, since_ms: int) -> list[FundingPayment]:
    """Return what a perpetual paid and received."""
    found: dict[str, FundingPayment] = {}
    for start_ms, end_ms in _windows(connection, dialect, symbol, since_ms):
        since = start_ms
        while True:
            question = partial(dialect.funding_page, connection.client, symbol, since, end_ms)
            page = connection.ask_privately(f"funding of {symbol}", question)
            new = [one for one in page if one.payment_id not in found]
            found.update((one.payment_id, one) for one in new)
            if len(page) < dialect.rows_max or not new:
                break
            since = max(one.time_ms for one in page)
    ours = [one for one in found.values() if one.time_ms >= since_ms]
    return sorted(ours, key=lambda one: (one.time_ms, one.payment_id))


def _windows(connection: Connection, dialect: Dialect, symbol: str, since_ms: int) -> list[tuple[int, int]]:
    """Return the periods, first to last millisecond, in which an exchange wants to be asked."""
    connection.require_credentials()
    end_ms = connection.server_time_ms() + _AHEAD_MS
    window_ms = dialect.trade_window_ms or max(end_ms - since_ms + 1, 1)
    starts = range(since_ms, end_ms + 1, window_ms)
    if len(starts) > _WINDOWS_MAX:
        raise ExchangeUnavailable(
            f"{connection.exchange_id} is asked about too long a time of {symbol}: since {since_ms} ms"
        )
    return [(start, min(start + window_ms - 1, end_ms)) for start in starts]


def _add_trades(
    found: dict[str, Trade], connection: Connection, dialect: Dialect, symbol: str, start_ms: int, end_ms: int
) -> None:
    """Add the trades of one period, page by page; a page holds the oldest ones there are from its start on."""
    since_ms, last_id = start_ms, None

    def question() -> list[Trade]:
        page = dialect.trades_page(connection.client, symbol, since_ms, end_ms, last_id)
        return trades_of(dialect, page, "", symbol)

    while True:
        page = connection.ask_privately(f"trades of {symbol}", question)
        new = [trade for trade in page if trade.trade_id not in found]
        found.update((trade.trade_id, trade) for trade in new)
        if len(page) < dialect.rows_max:
            return
        if not new:
            raise ExchangeUnavailable(
                f"{connection.exchange_id} does not tell all trades of {symbol}: too many in one moment"
            )
        since_ms, last_id = page[-1].time_ms, page[-1].trade_id
