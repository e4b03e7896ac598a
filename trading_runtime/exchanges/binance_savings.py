"""Binance's Simple Earn, flexible products of a spot account, and what came in and went out, through ccxt's endpoints.

Facts are from the pages "Get Simple Earn Flexible Product List", "Get Flexible Product Position", "Subscribe Flexible
Product", "Redeem Flexible Product", "Get Flexible Subscription Record", "Get Flexible Redemption Record", "Get Flexible
Rewards History", "Deposit History" and "Withdraw History" of its REST documentation. How requests travel and what a
refusal means is decided in ``connection.py`` and ``binance.py``; what to do with the money is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Literal, TypeVar

from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable
from trading_runtime.core.instruments import decimal_text
from trading_runtime.exchanges.answers import raise_refused
from trading_runtime.exchanges.connection import Connection, Failure
from trading_runtime.exchanges.port import CashFlow, EarnKind, EarnOperation, EarnProduct, FlowKind, NotPlaced
from trading_runtime.exchanges.structures import OddAnswer, decimal_of, required

_DAY_MS = 24 * 60 * 60_000
# Savings are told for at most three months at once, deposits and withdrawals for less than ninety days.
WINDOW_MS = 30 * _DAY_MS
_WINDOWS_MAX = 122
# Records may be stamped a little after the time at which we ask.
_AHEAD_MS = 60_000
_PAGE_SIZE = 100
_TRANSFERS_PAGE_SIZE = 1000
_PAGES_MAX = 1000
_DECIMALS = 8
_PERMISSIONS = (
    "the API key needs the permissions for reading and for spot trading, from this computer's address: see the "
    "exchange's API management"
)

_STATUSES: dict[EarnKind, dict[str, Literal["done", "pending", "failed"]]] = {
    "subscribe": {"SUCCESS": "done", "PURCHASING": "pending", "FAILED": "failed", "FAIL": "failed"},
    "redeem": {
        "PAID": "done", "SUCCESS": "done", "REDEEMING": "pending", "PENDING": "pending", "FAILED": "failed",
        "FAIL": "failed",
    },
}  # fmt: skip
_REWARD_TYPES = ("BONUS", "REALTIME", "REWARDS")
# "Deposit History": 1 success, 6 credited but cannot withdraw. Others are not in the balance.
_CREDITED = frozenset({"1", "6"})
# "Withdraw History": 1 cancelled, 3 rejected, 5 failure. The money of all others has left the balance.
_SENT_BACK = frozenset({"1", "3", "5"})
_FUNDING_WALLET = "1"

Row = Mapping[str, Any]
Result = TypeVar("Result")


class BinanceSavings:
    """``Savings`` of one spot account. ``window_ms`` is how old a request that moves money may arrive."""

    def __init__(self, connection: Connection, window_ms: int | None) -> None:
        self._connection = connection
        self._client = connection.client
        self._window_ms = window_ms

    def earn_product(self, asset: str) -> EarnProduct | None:
        def question() -> EarnProduct | None:
            rows = _rows(self._client.sapiGetSimpleEarnFlexibleList({"asset": asset, "size": _PAGE_SIZE}))
            products = [_product(row) for row in rows if row.get("asset") == asset]
            return min(products, key=lambda one: (not one.can_subscribe, one.product_id), default=None)

        return self._asked(f"its savings product of {asset}", question)

    def earn_position(self, asset: str) -> Decimal:
        def question() -> Decimal:
            rows = _rows(self._client.sapiGetSimpleEarnFlexiblePosition({"asset": asset, "size": _PAGE_SIZE}))
            held = [required(row, "totalAmount") for row in rows if row.get("asset") == asset]
            return sum(held, Decimal(0))

        return self._asked(f"its savings of {asset}", question)

    def move_earn(self, kind: EarnKind, product: EarnProduct, amount: Decimal, stamp_ms: int) -> str:
        """Move money between the spot balance and a product: one request."""
        what = f"{kind} {decimal_text(amount)} {product.asset}"
        self._connection.require_credentials()
        text = decimal_text(amount)
        if amount <= 0 or len(text.partition(".")[2]) > _DECIMALS:
            told = f"{what}: an amount is positive and has at most {_DECIMALS} decimals"
            raise NotPlaced("filters", f"{self._connection.exchange_id}: {told}")
        parameters: dict[str, Any] = {"productId": product.product_id, "amount": text}
        if kind == "subscribe":
            # Unless told not to, it turns on the daily subscription of the whole spot balance.
            parameters |= {"autoSubscribe": "false", "sourceAccount": "SPOT"}
            send, id_name = self._client.sapiPostSimpleEarnFlexibleSubscribe, "purchaseId"
        else:
            parameters |= {"redeemAll": "false", "destAccount": "SPOT"}
            send, id_name = self._client.sapiPostSimpleEarnFlexibleRedeem, "redeemId"
        parameters["timestamp"] = stamp_ms
        if self._window_ms is not None:
            parameters["recvWindow"] = self._window_ms

        def request() -> str:
            answer = send(parameters)
            if answer.get("success") is not True:
                raise OddAnswer("it does not say that it was done")
            return _id(answer, id_name)

        try:
            return self._connection.send(request)
        except Failure as failure:
            trouble = failure.trouble
        if trouble.word == "credentials":
            trouble = trouble._replace(text=f"{trouble.text}; {_PERMISSIONS}")
        raise_refused(self._connection.exchange_id, what, trouble)

    def earn_operations(self, kind: EarnKind, asset: str, since_ms: int) -> list[EarnOperation]:
        if kind == "subscribe":
            ask = self._client.sapiGetSimpleEarnFlexibleHistorySubscriptionRecord
        else:
            ask = self._client.sapiGetSimpleEarnFlexibleHistoryRedemptionRecord
        found: dict[str, EarnOperation] = {}
        for start_ms, end_ms in self._windows(f"{kind} records of {asset}", since_ms):
            parameters = {"asset": asset, "startTime": start_ms, "endTime": end_ms}
            for operation in self._paged(f"its {kind} records of {asset}", ask, parameters, partial(_operation, kind)):
                if operation is not None and operation.asset == asset:
                    found[operation.operation_id] = operation
        ours = [one for one in found.values() if one.time_ms >= since_ms]
        return sorted(ours, key=lambda one: (one.time_ms, one.operation_id))

    def cash_flows(self, asset: str, since_ms: int) -> list[CashFlow]:
        """Deposits and withdrawals of the spot wallet, and interest.

        Withdrawals are stamped with whole seconds: those of the second of ``since_ms`` are told, too. Interest has no
        id: its product, kind, time and amount are it.
        """
        found: dict[tuple[FlowKind, str], CashFlow] = {}
        since_ms -= since_ms % 1000
        for start_ms, end_ms in self._windows(f"deposits and withdrawals of {asset}", since_ms):
            period = {"coin": asset, "startTime": start_ms, "endTime": end_ms}
            deposits = self._offset(f"deposits of {asset}", self._client.sapiGetCapitalDepositHisrec, period, _deposit)
            ask = self._client.sapiGetCapitalWithdrawHistory
            withdrawals = self._offset(f"withdrawals of {asset}", ask, period, _withdrawal)
            for flow in (*deposits, *withdrawals):
                if flow is not None:
                    found[flow.kind, flow.flow_id] = flow
        ask = self._client.sapiGetSimpleEarnFlexibleHistoryRewardsRecord
        for start_ms, end_ms in self._windows(f"interest of {asset}", since_ms):
            for reward_type in _REWARD_TYPES:
                parameters = {"asset": asset, "type": reward_type, "startTime": start_ms, "endTime": end_ms}
                for flow in self._paged(f"interest of {asset}", ask, parameters, _interest):
                    found[flow.kind, flow.flow_id] = flow
        ours = [one for one in found.values() if one.asset == asset and one.time_ms >= since_ms]
        return sorted(ours, key=lambda one: (one.time_ms, one.flow_id))

    # Questions

    def _asked(self, what: str, question: Callable[[], Result]) -> Result:
        self._connection.require_credentials()
        try:
            return self._connection.ask_privately(what, question)
        except ConfigurationError as error:
            text = str(error)
        raise ConfigurationError(f"{text}; {_PERMISSIONS}")

    def _windows(self, what: str, since_ms: int) -> list[tuple[int, int]]:
        """Return the periods, first to last millisecond, in which Binance lets one ask."""
        self._connection.require_credentials()
        end_ms = self._connection.server_time_ms() + _AHEAD_MS
        starts = range(since_ms, end_ms + 1, WINDOW_MS)
        if len(starts) > _WINDOWS_MAX:
            raise ExchangeUnavailable(
                f"{self._connection.exchange_id} is asked about too long a time of {what}: since {since_ms} ms"
            )
        return [(start, min(start + WINDOW_MS - 1, end_ms)) for start in starts]

    def _paged(
        self, what: str, ask: Callable[[Mapping[str, Any]], Any], parameters: Mapping[str, Any],
        read: Callable[[Row], Result],
    ) -> list[Result]:  # fmt: skip
        """Return all rows of a history of savings, which comes newest first in pages that are counted from 1.

        A record that is added meanwhile moves others to the next page, never past it: some may be told twice.
        """

        def question(current: int) -> list[Result]:
            return [read(row) for row in _rows(ask({**parameters, "current": current, "size": _PAGE_SIZE}))]

        return self._all(what, question, _PAGE_SIZE)

    def _offset(
        self, what: str, ask: Callable[[Mapping[str, Any]], Any], parameters: Mapping[str, Any],
        read: Callable[[Row], Result],
    ) -> list[Result]:  # fmt: skip
        """Return all rows of deposits or withdrawals, which are counted by an offset."""

        def question(current: int) -> list[Result]:
            offset = (current - 1) * _TRANSFERS_PAGE_SIZE
            answer = ask({**parameters, "offset": offset, "limit": _TRANSFERS_PAGE_SIZE})
            return [read(row) for row in _as_rows(answer)]

        return self._all(what, question, _TRANSFERS_PAGE_SIZE)

    def _all(self, what: str, question: Callable[[int], list[Result]], size: int) -> list[Result]:
        found: list[Result] = []
        for current in range(1, _PAGES_MAX + 1):
            page = self._asked(what, partial(question, current))
            found += page
            if len(page) < size:
                return found
        raise ExchangeUnavailable(f"{self._connection.exchange_id} does not come to an end with {what}")


def _rows(answer: Any) -> list[Row]:
    if not isinstance(answer, dict):
        raise OddAnswer("no rows")
    return _as_rows(answer.get("rows"))


def _as_rows(rows: Any) -> list[Row]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise OddAnswer("no rows")
    return rows


def _product(row: Row) -> EarnProduct:
    can_subscribe = row.get("canPurchase") is True and row.get("isSoldOut") is not True
    status = row.get("status")
    return EarnProduct(
        _text(row, "productId"),
        _text(row, "asset"),
        can_subscribe and status in (None, "PURCHASING"),
        row.get("canRedeem") is True,
        required(row, "minPurchaseAmount"),
    )


def _operation(kind: EarnKind, row: Row) -> EarnOperation | None:
    """Return an operation between the product and the spot wallet, None for one with the funding wallet."""
    wallet = str(row.get("sourceAccount" if kind == "subscribe" else "destAccount") or "SPOT")
    if wallet.startswith("FUND"):
        return None
    told = _text(row, "status").upper()
    status = _STATUSES[kind].get(told)
    if status is None:
        raise OddAnswer(f"unknown status {told[:30]!r} of a {kind} record")
    operation_id = _id(row, "purchaseId" if kind == "subscribe" else "redeemId")
    return EarnOperation(
        operation_id, kind, _text(row, "asset"), required(row, "amount"), status, int(required(row, "time"))
    )


def _interest(row: Row) -> CashFlow:
    amount, time_ms = required(row, "rewards"), int(required(row, "time"))
    flow_id = f"{_text(row, 'projectId')}:{_text(row, 'type')}:{time_ms}:{decimal_text(amount)}"
    return CashFlow(flow_id, "interest", _text(row, "asset"), amount, time_ms)


def _deposit(row: Row) -> CashFlow | None:
    """Return a deposit that is in the spot balance, None for any other."""
    if str(row.get("status")) not in _CREDITED or str(row.get("walletType")) == _FUNDING_WALLET:
        return None
    flow_id = str(row.get("id") or "") or _text(row, "txId")
    return CashFlow(flow_id, "deposit", _text(row, "coin"), required(row, "amount"), int(required(row, "insertTime")))


def _withdrawal(row: Row) -> CashFlow | None:
    """Return a withdrawal with its fee, which is told beside the amount; None when its money is in the balance."""
    if str(row.get("status")) in _SENT_BACK or str(row.get("walletType")) == _FUNDING_WALLET:
        return None
    amount = required(row, "amount") + (decimal_of(row.get("transactionFee")) or Decimal(0))
    applied = _text(row, "applyTime")
    try:
        time = datetime.strptime(applied, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise OddAnswer(f"not a time: {applied[:30]!r}") from None
    return CashFlow(_text(row, "id"), "withdrawal", _text(row, "coin"), -amount, int(time.timestamp()) * 1000)


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise OddAnswer(f"{name} is missing")
    return value


def _id(row: Row, name: str) -> str:
    value = row.get(name)
    if value is None or value == "":
        raise OddAnswer(f"{name} is missing")
    return str(value)
