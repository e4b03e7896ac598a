"""Binance's REST for money outside of markets: Simple Earn flexible, deposit and withdraw history, with their limits.

Fields, defaults and limits follow the pages "Get Simple Earn Flexible Product List", "Get Flexible Product Position",
"Subscribe Flexible Product", "Redeem Flexible Product", "Get Flexible Subscription Record", "Get Flexible Redemption
Record", "Get Flexible Rewards History", "Deposit History" and "Withdraw History" of the REST documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from .account import VenueAccount
from .binance_numbers import Json, eight
from .binance_requests import decimal, integer, missing
from .faults import Fate
from .orders import ZERO, VenueError
from .savings import EarnKind, EarnRecord, Savings, Transfer, TransferKind

_DAY_MS = 86_400_000
_HISTORY_DAYS_DEFAULT = 30
_PERIOD_DAYS_MAX = 90
_SIZE_DEFAULT = 10
_SIZE_MAX = 100
_SUBSCRIBED = {"done": "SUCCESS", "pending": "PURCHASING", "failed": "FAILED"}
_REDEEMED = {"done": "PAID", "pending": "REDEEMING", "failed": "FAILED"}
_TRANSFERS: dict[str, TransferKind] = {"capital/deposit/hisrec": "deposit", "capital/withdraw/history": "withdrawal"}
_REWARD_TYPES = ("BONUS", "REALTIME", "REWARDS")
_SECURITY = frozenset(("timestamp", "recvWindow", "signature"))
_READ = {
    "subscribe": frozenset(("productId", "amount", "autoSubscribe", "sourceAccount")),
    "redeem": frozenset(("productId", "redeemAll", "amount", "destAccount")),
}


class SavingsEndpoints:
    """What the server answers below ``simple-earn/flexible/`` and ``capital/``."""

    def __init__(self, savings: Savings) -> None:
        self._savings = savings

    def knows(self, name: str) -> bool:
        return name.startswith("simple-earn/flexible/") or name in _TRANSFERS

    def answer(self, name: str, account: VenueAccount, parameters: dict[str, str], fate: Fate) -> Any:
        name = name.removeprefix("simple-earn/flexible/")
        if name == "subscribe":
            return self._moved("subscribe", account, parameters, fate)
        if name == "redeem":
            return self._moved("redeem", account, parameters, fate)
        if name == "list":
            return _page([self._product(asset) for asset in _assets(parameters, self._savings.products)], parameters)
        if name == "position":
            return _page(self._positions(account, parameters), parameters)
        if name == "history/subscriptionRecord":
            return self._history("subscribe", account, parameters)
        if name == "history/redemptionRecord":
            return self._history("redeem", account, parameters)
        if name == "history/rewardsRecord":
            return self._rewards(account, parameters)
        return self._transfers(_TRANSFERS[name], account, parameters)

    def _product(self, asset: str) -> Json:
        product = self._savings.products[asset]
        return {
            "asset": asset,
            "latestAnnualPercentageRate": eight(product.yearly_rate),
            "tierAnnualPercentageRate": {},
            "airDropPercentageRate": "0.00000000",
            "canPurchase": product.can_subscribe,
            "canRedeem": product.can_redeem,
            "isSoldOut": False,
            "hot": True,
            "minPurchaseAmount": eight(product.minimum),
            "productId": product.product_id,
            "subscriptionStartTime": 1646182276000,
            "status": "PURCHASING",
        }

    def _positions(self, account: VenueAccount, parameters: dict[str, str]) -> list[Json]:
        rows = []
        for asset in _assets(parameters, account.holdings):
            total = self._savings.position(account.name, asset)
            product = self._savings.products[asset]
            if total and parameters.get("productId") in (None, product.product_id):
                earned = sum((one.amount for one in self._savings.rewards(account.name, asset)), ZERO)
                rows.append(
                    {
                        "totalAmount": eight(total),
                        "tierAnnualPercentageRate": {},
                        "latestAnnualPercentageRate": eight(product.yearly_rate),
                        "asset": asset,
                        "canRedeem": product.can_redeem,
                        "collateralAmount": "0",
                        "productId": product.product_id,
                        "yesterdayRealTimeRewards": "0",
                        "cumulativeBonusRewards": "0",
                        "cumulativeRealTimeRewards": eight(earned),
                        "cumulativeTotalRewards": eight(earned),
                        "autoSubscribe": False,
                    }
                )
        return rows

    def _moved(self, kind: EarnKind, account: VenueAccount, parameters: dict[str, str], fate: Fate) -> Json:
        unread = sorted(set(parameters) - _READ[kind] - _SECURITY)
        if unread:
            raise VenueError(-1104, f"Not all sent parameters were read; {', '.join(unread)} was not.")
        amount = decimal(parameters, "amount")
        if not parameters.get("productId"):
            raise missing("productId")
        if amount is None:
            raise missing("amount")
        # Subscribing turns on the daily subscription of everything in the account unless told not to.
        if kind == "subscribe" and parameters.get("autoSubscribe", "true") != "false":
            raise ValueError("this venue knows no daily subscription: autoSubscribe must be false")
        record = self._savings.move(
            account.name, kind, parameters["productId"], amount,
            pending_ms=fate.pending_ms, invisible_ms=fate.invisible_ms, fails=fate.fails,
        )  # fmt: skip
        return {"purchaseId" if kind == "subscribe" else "redeemId": record.record_id, "success": True}

    def _history(self, kind: EarnKind, account: VenueAccount, parameters: dict[str, str]) -> Json:
        now = self._savings.now_ms()
        start, end = _period(parameters, now, _HISTORY_DAYS_DEFAULT)
        records = self._savings.records(account.name, kind, parameters.get("asset"))
        form = _subscription if kind == "subscribe" else _redemption
        return _page([form(one, now) for one in reversed(records) if start <= one.time_ms <= end], parameters)

    def _rewards(self, account: VenueAccount, parameters: dict[str, str]) -> Json:
        kind = parameters.get("type", "")
        if kind not in _REWARD_TYPES:
            raise missing("type")
        start, end = _period(parameters, self._savings.now_ms(), _HISTORY_DAYS_DEFAULT)
        rows = [
            {
                "asset": one.asset,
                "rewards": eight(one.amount),
                "projectId": one.product_id,
                "type": one.kind,
                "time": one.time_ms,
            }
            for one in reversed(self._savings.rewards(account.name, parameters.get("asset")))
            if one.kind == kind and start <= one.time_ms <= end
        ]
        return _page(rows, parameters)

    def _transfers(self, kind: TransferKind, account: VenueAccount, parameters: dict[str, str]) -> list[Json]:
        now = self._savings.now_ms()
        start, end = _period(parameters, now, _PERIOD_DAYS_MAX)
        found = [
            one
            for one in reversed(self._savings.transfers(account.name, kind, parameters.get("coin")))
            if start <= one.time_ms <= end
        ]
        offset = integer("offset", parameters.get("offset", "0"))
        limit = min(integer("limit", parameters.get("limit", "1000")), 1000)
        rows = found[offset : offset + limit]
        return [_deposit(one, now) if kind == "deposit" else _withdrawal(one) for one in rows]


def _assets(parameters: dict[str, str], known: Sequence[str] | dict[str, Any]) -> list[str]:
    return [asset for asset in known if parameters.get("asset") in (None, asset)]


def _page(rows: list[Json], parameters: dict[str, str]) -> Json:
    size = integer("size", parameters.get("size", str(_SIZE_DEFAULT)))
    current = integer("current", parameters.get("current", "1"))
    if not 1 <= size <= _SIZE_MAX or current < 1:
        raise VenueError(-6016, "Parameter error.")
    return {"rows": rows[(current - 1) * size : current * size], "total": len(rows)}


def _period(parameters: dict[str, str], now: int, days_default: int) -> tuple[int, int]:
    """Return first and last millisecond; raises VenueError for more than three months."""
    told_start, told_end = parameters.get("startTime"), parameters.get("endTime")
    default_ms = days_default * _DAY_MS
    if told_start is None:
        end = now if told_end is None else integer("endTime", told_end)
        return end - default_ms, end
    start = integer("startTime", told_start)
    end = start + default_ms if told_end is None else integer("endTime", told_end)
    if end - start > _PERIOD_DAYS_MAX * _DAY_MS:
        raise VenueError(-1127, f"More than {_PERIOD_DAYS_MAX * 24} hours between startTime and endTime.")
    return start, end


def _subscription(record: EarnRecord, now: int) -> Json:
    return {
        "amount": eight(record.amount),
        "asset": record.asset,
        "time": record.time_ms,
        "purchaseId": record.record_id,
        "productId": record.product_id,
        "type": "NORMAL",
        "sourceAccount": "SPOT",
        "amtFromSpot": eight(record.amount),
        "amtFromFunding": "0",
        "status": _SUBSCRIBED[record.status(now)],
    }


def _redemption(record: EarnRecord, now: int) -> Json:
    return {
        "amount": eight(record.amount),
        "asset": record.asset,
        "time": record.time_ms,
        "projectId": record.product_id,
        "redeemId": record.record_id,
        "destAccount": "SPOT",
        "status": _REDEEMED[record.status(now)],
    }


def _deposit(transfer: Transfer, now: int) -> Json:
    return {
        "id": transfer.transfer_id,
        "amount": str(transfer.amount),
        "coin": transfer.asset,
        "network": "ETH",
        "status": 1 if transfer.credited_ms <= now else 0,
        "address": "0x0",
        "addressTag": "",
        "txId": f"0x{transfer.transfer_id}",
        "insertTime": transfer.time_ms,
        "transferType": 0,
        "confirmTimes": "1/1",
        "unlockConfirm": 0,
        "walletType": 0,
    }


def _withdrawal(transfer: Transfer) -> Json:
    applied = datetime.fromtimestamp(transfer.time_ms // 1000, UTC)
    return {
        "id": transfer.transfer_id,
        "amount": str(transfer.amount),
        "transactionFee": str(transfer.fee),
        "coin": transfer.asset,
        "status": 3 if transfer.is_sent_back else 6,
        "address": "0x0",
        "txId": f"0x{transfer.transfer_id}",
        "applyTime": applied.strftime("%Y-%m-%d %H:%M:%S"),
        "network": "ETH",
        "transferType": 0,
        "info": "",
        "confirmNo": 3,
        "walletType": 0,
        "txKey": "",
    }
