"""Savings of a dry run: money moves between what the exchange said and this process's memory, and nowhere else.

No time passes, so nothing earns interest here, and what is moved is there at once. Orders and balances are in
``dry_run``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from trading_runtime.core.instruments import decimal_text
from trading_runtime.exchanges.port import CashFlow, EarnKind, EarnOperation, EarnProduct, NotPlaced

_NONE = Decimal(0)
_DECIMALS = 8


class DryRunSavings:
    """``Savings`` in memory.

    products     by asset; an asset without one has no savings
    earn         what is in them by asset, as the real exchange said or as it is made up
    operations   what the real exchange's history tells; those of the dry run are added to it
    flows        what the real exchange tells of money that came in and went out: a dry run makes none
    free         returns what of an asset is free on spot, ``move`` changes it
    now_ms       the exchange's time, by which a stamp may be too old
    """

    def __init__(
        self,
        products: Mapping[str, EarnProduct],
        earn: Mapping[str, Decimal],
        operations: Sequence[EarnOperation],
        flows: Sequence[CashFlow],
        *,
        free: Callable[[str], Decimal],
        move: Callable[[str, Decimal], None],
        now_ms: Callable[[], int],
        window_ms: int | None,
    ) -> None:
        self._products = dict(products)
        self._earn = dict(earn)
        self._operations = list(operations)
        self._flows = sorted(flows, key=lambda flow: (flow.time_ms, flow.flow_id))
        self._free = free
        self._move = move
        self._now_ms = now_ms
        self._window_ms = window_ms
        self._count = 0

    def earn_product(self, asset: str) -> EarnProduct | None:
        return self._products.get(asset)

    def earn_position(self, asset: str) -> Decimal:
        return self._earn.get(asset, _NONE)

    def move_earn(self, kind: EarnKind, product: EarnProduct, amount: Decimal, stamp_ms: int) -> str:
        """Move money in memory; raises NotPlaced as the exchange would."""
        asset, what = product.asset, f"{kind} {amount} {product.asset}"
        known = self._products.get(asset)
        if known is None or known.product_id != product.product_id:
            raise NotPlaced("rejected", f"{what}: the dry run has no product {product.product_id}")
        if self._window_ms is not None and self._now_ms() - stamp_ms > self._window_ms:
            raise NotPlaced("too_late", f"{what}: the request is older than {self._window_ms} ms")
        if amount <= _NONE or len(decimal_text(amount).partition(".")[2]) > _DECIMALS:
            raise NotPlaced("filters", f"{what}: an amount is positive and has at most {_DECIMALS} decimals")
        if kind == "subscribe":
            self._check_subscription(known, amount, what)
        else:
            self._check_redemption(known, amount, what)
        change = amount if kind == "subscribe" else -amount
        self._earn[asset] = self.earn_position(asset) + change
        self._move(asset, -change)
        self._count += 1
        operation_id = f"dry-earn-{self._count}"
        self._operations.append(EarnOperation(operation_id, kind, asset, amount, "done", stamp_ms))
        return operation_id

    def earn_operations(self, kind: EarnKind, asset: str, since_ms: int) -> list[EarnOperation]:
        found = [one for one in self._operations if (one.kind, one.asset) == (kind, asset) and one.time_ms >= since_ms]
        return sorted(found, key=lambda one: one.time_ms)

    def cash_flows(self, asset: str, since_ms: int) -> list[CashFlow]:
        return [flow for flow in self._flows if flow.asset == asset and flow.time_ms >= since_ms]

    def _check_subscription(self, product: EarnProduct, amount: Decimal, what: str) -> None:
        if not product.can_subscribe:
            raise NotPlaced("rejected", f"{what}: the product is closed")
        if amount < product.subscribe_minimum:
            raise NotPlaced("filters", f"{what}: the minimum is {product.subscribe_minimum}")
        if amount > self._free(product.asset):
            raise NotPlaced("funds", f"{what}: more than is free")

    def _check_redemption(self, product: EarnProduct, amount: Decimal, what: str) -> None:
        if not product.can_redeem:
            raise NotPlaced("rejected", f"{what}: the product does not give anything back now")
        if amount > self.earn_position(product.asset):
            raise NotPlaced("funds", f"{what}: more than is in savings")
