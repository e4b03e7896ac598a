"""The port's Savings straight over the venue: questions retried, money moved once, as ``port`` does with orders."""

from __future__ import annotations

from decimal import Decimal

from trading_runtime.core.errors import FateUnknown
from trading_runtime.core.instruments import decimal_text
from trading_runtime.exchanges.port import CashFlow, EarnKind, EarnOperation, EarnProduct, Savings

from .orders import VenueError
from .port_words import raise_not_moved
from .savings import EarnRecord
from .wire import NoAnswerError, Wire


class VenueSavings:
    """The savings of the account at the other end of ``wire``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._desk = wire.venue.savings

    def earn_product(self, asset: str) -> EarnProduct | None:
        def answer() -> EarnProduct | None:
            one = self._desk.products.get(asset)
            if one is None:
                return None
            return EarnProduct(one.product_id, asset, one.can_subscribe, one.can_redeem, one.minimum)

        return self._wire.ask("earn", "earn_product", answer)

    def earn_position(self, asset: str) -> Decimal:
        return self._wire.ask("earn", "earn_position", lambda: self._desk.position(self._wire.account, asset))

    def move_earn(self, kind: EarnKind, product: EarnProduct, amount: Decimal, stamp_ms: int) -> str:
        wire, what = self._wire, f"{kind} {amount} {product.asset}"
        if wire.before is not None:
            wire.before("move_earn")
        fate = wire.faults.next("move_earn")

        def execute() -> EarnRecord:
            wire.check_stamp(stamp_ms)
            return self._desk.move(
                wire.account, kind, product.product_id, amount,
                pending_ms=fate.pending_ms, invisible_ms=fate.invisible_ms, fails=fate.fails,
            )  # fmt: skip

        try:
            record = wire.send(fate, execute)
        except NoAnswerError:
            raise FateUnknown(f"no answer to {what}") from None
        except VenueError as rejection:
            raise_not_moved(rejection, what)
        if wire.after is not None:
            wire.after("move_earn")
        return str(record.record_id)

    def earn_operations(self, kind: EarnKind, asset: str, since_ms: int) -> list[EarnOperation]:
        def answer() -> list[EarnOperation]:
            now = self._wire.venue.now_ms()
            return [
                EarnOperation(str(one.record_id), kind, asset, one.amount, one.status(now), one.time_ms)
                for one in self._desk.records(self._wire.account, kind, asset)
                if one.time_ms >= since_ms
            ]

        return self._wire.ask("earn", "earn_operations", answer)

    def cash_flows(self, asset: str, since_ms: int) -> list[CashFlow]:
        return self._wire.ask("flows", "cash_flows", lambda: self._flows(asset, since_ms))

    def _flows(self, asset: str, since_ms: int) -> list[CashFlow]:
        account, now = self._wire.account, self._wire.venue.now_ms()
        found = [
            CashFlow(one.transfer_id, "deposit", asset, one.amount, one.time_ms)
            for one in self._desk.transfers(account, "deposit", asset)
            if one.credited_ms <= now
        ]
        found += [
            CashFlow(one.transfer_id, "withdrawal", asset, -one.amount - one.fee, one.time_ms)
            for one in self._desk.transfers(account, "withdrawal", asset)
            if not one.is_sent_back
        ]
        for reward in self._desk.rewards(account, asset):
            flow_id = f"{reward.product_id}:{reward.kind}:{reward.time_ms}:{decimal_text(reward.amount)}"
            found.append(CashFlow(flow_id, "interest", asset, reward.amount, reward.time_ms))
        return sorted((one for one in found if one.time_ms >= since_ms), key=lambda one: (one.time_ms, one.flow_id))


_checked: type[Savings] = VenueSavings  # for the type checker: nothing of the port is missing
