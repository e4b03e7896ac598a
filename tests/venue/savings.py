"""Money of the venue that is not in a market: flexible savings, their interest, deposits and withdrawals.

Interest is added to a position minute by minute and recorded hour by hour: between two records a position is a little
more than what the records explain, as at Binance. What is asked changes nothing of it. How late a record shows, and
whether an operation takes time or fails in the end, is told with the operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from .orders import ZERO, VenueError

if TYPE_CHECKING:
    from .account import VenueAccount

UNIT = Decimal("0.00000001")
MINUTE_MS = 60_000
RECORD_MS = 3_600_000
_MINUTES_A_YEAR = 365 * 24 * 60
# "Rate limit: 1/3s per account" of the subscribe and redeem pages, each for itself.
SPACING_MS = 3_000

EarnKind = Literal["subscribe", "redeem"]
TransferKind = Literal["deposit", "withdrawal"]


class VenueProduct:
    """The flexible product of one asset."""

    def __init__(
        self,
        asset: str,
        *,
        product_id: str | None = None,
        minimum: str = "0.1",
        yearly_rate: str = "0.05",
        can_subscribe: bool = True,
        can_redeem: bool = True,
    ) -> None:
        self.asset = asset
        self.product_id = f"{asset}001" if product_id is None else product_id
        self.minimum = Decimal(minimum)
        self.yearly_rate = Decimal(yearly_rate)
        self.can_subscribe = can_subscribe
        self.can_redeem = can_redeem


class Reward(NamedTuple):
    """Interest: REALTIME went into the position, BONUS into the spot balance. Binance gives it no id."""

    product_id: str
    asset: str
    kind: Literal["REALTIME", "BONUS"]
    amount: Decimal
    time_ms: int


class Holding:
    """What is in one product. Interest of each whole minute is that of what was in it at the last record or move."""

    def __init__(self, product: VenueProduct, now_ms: int) -> None:
        self.product = product
        self._amount = ZERO
        self._from_ms = now_ms
        self._unrecorded = ZERO

    def value(self, now_ms: int) -> Decimal:
        """Return what can be had back at ``now_ms``; ``settle`` must have been called for it."""
        return self._amount + self._gain(now_ms)

    def settle(self, now_ms: int) -> list[Reward]:
        """Add the interest of all hours that have passed and return their records."""
        rewards: list[Reward] = []
        while (record_ms := (self._from_ms // RECORD_MS + 1) * RECORD_MS) <= now_ms:
            if not self._amount and not self._unrecorded:
                record_ms = now_ms - now_ms % RECORD_MS
            self._add(ZERO, record_ms)
            if self._unrecorded:
                product = self.product
                rewards.append(Reward(product.product_id, product.asset, "REALTIME", self._unrecorded, record_ms))
                self._unrecorded = ZERO
        return rewards

    def move(self, amount: Decimal, now_ms: int) -> None:
        """Put in, or take out where negative."""
        self._add(amount, now_ms)

    def _gain(self, until_ms: int) -> Decimal:
        minutes = until_ms // MINUTE_MS - self._from_ms // MINUTE_MS
        return minutes * (self._amount * self.product.yearly_rate / _MINUTES_A_YEAR).quantize(UNIT, ROUND_DOWN)

    def _add(self, amount: Decimal, time_ms: int) -> None:
        gain = self._gain(time_ms)
        self._unrecorded += gain
        self._amount += gain + amount
        self._from_ms = time_ms


class EarnRecord(NamedTuple):
    """A subscription or a redemption. Its money is on its way until ``ends_ms``, then there, or back where it was."""

    record_id: int
    kind: EarnKind
    asset: str
    product_id: str
    amount: Decimal
    time_ms: int
    visible_from_ms: int
    ends_ms: int
    fails: bool

    def status(self, now_ms: int) -> Literal["done", "pending", "failed"]:
        if now_ms < self.ends_ms:
            return "pending"
        return "failed" if self.fails else "done"


class Transfer(NamedTuple):
    """A deposit, in the balance from ``credited_ms`` on, or a withdrawal, whose ``fee`` was taken beside ``amount``."""

    transfer_id: str
    kind: TransferKind
    asset: str
    amount: Decimal
    fee: Decimal
    time_ms: int
    credited_ms: int
    visible_from_ms: int
    is_sent_back: bool = False


class Savings:
    """The venue's desk for all accounts.

    rewards_late_ms   how much later than it was earned interest is told
    spacing_ms        how long after an operation of a kind the next one of it is refused
    """

    def __init__(self, now_ms: Callable[[], int], accounts: Mapping[str, VenueAccount]) -> None:
        self.now_ms = now_ms
        self.accounts = accounts
        self.products: dict[str, VenueProduct] = {}
        self.rewards_late_ms = 0
        self.spacing_ms = SPACING_MS
        self._ids = 40_000

    # What a test does

    def offer(self, *products: VenueProduct) -> None:
        """Have these products; the one an asset had before is replaced."""
        self.products.update((product.asset, product) for product in products)

    def deposit(
        self, asset: str, amount: str, *, account: str = "main", credited_after_ms: int = 0, invisible_ms: int = 0
    ) -> Transfer:
        """Let money come in from outside."""
        now, value = self.now_ms(), Decimal(amount)
        transfer = Transfer(
            f"d{self._next_id()}", "deposit", asset, value, ZERO, now, now + credited_after_ms, now + invisible_ms
        )
        self._account(account).transfers_on_the_way.append(transfer)
        self.accounts[account].transfers.append(transfer)
        self.settle(account)
        return transfer

    def withdraw(
        self, asset: str, amount: str, *, fee: str = "0", account: str = "main", invisible_ms: int = 0
    ) -> Transfer:
        """Let money go out: ``amount`` arrives somewhere else, ``fee`` is the venue's."""
        now, value, charge = self.now_ms(), Decimal(amount), Decimal(fee)
        holder = self._account(account)
        _take(holder.free, asset, value + charge)
        transfer = Transfer(f"w{self._next_id()}", "withdrawal", asset, value, charge, now, now, now + invisible_ms)
        holder.transfers.append(transfer)
        return transfer

    def send_back(self, transfer: Transfer, *, account: str = "main") -> None:
        """Let a withdrawal fail: its money is back, and its record says so."""
        holder = self._account(account)
        holder.transfers[holder.transfers.index(transfer)] = transfer._replace(is_sent_back=True)
        _put(holder.free, transfer.asset, transfer.amount + transfer.fee)

    def pay_bonus(self, asset: str, amount: str, *, account: str = "main") -> None:
        """Pay interest into the spot balance, as bonus tiers do once a day: never the same twice in one moment."""
        holder, value = self._account(account), Decimal(amount)
        reward = Reward(self._product_of(asset).product_id, asset, "BONUS", value, self.now_ms())
        if reward in holder.rewards:
            raise ValueError(f"a bonus of {value} {asset} has been paid in this moment")
        _put(holder.free, asset, value)
        holder.rewards.append(reward)

    # What an account does

    def move(
        self,
        account: str,
        kind: EarnKind,
        product_id: str,
        amount: Decimal,
        *,
        pending_ms: int = 0,
        invisible_ms: int = 0,
        fails: bool = False,
    ) -> EarnRecord:
        """Subscribe or redeem; raises VenueError with Binance's codes for savings."""
        now, holder = self.now_ms(), self._account(account)
        product = next((one for one in self.products.values() if one.product_id == product_id), None)
        if not holder.can_trade:
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if product is None:
            raise VenueError(-6001, "Daily product not exist.")
        if amount % UNIT:
            raise VenueError(-1111, "Parameter 'amount' has too much precision.")
        if now - holder.earned_at.get(kind, now - self.spacing_ms) < self.spacing_ms:
            raise VenueError(-6009, "Request frequency too high.")
        if amount <= 0:
            raise VenueError(-6005, "Smaller than min purchase limit.")
        if kind == "subscribe":
            if not product.can_subscribe:
                raise VenueError(-6004, "Product not in purchase status.")
            if amount < product.minimum:
                raise VenueError(-6005, "Smaller than min purchase limit.")
            if amount > holder.free.get(product.asset, ZERO):
                raise VenueError(-6012, "Balance not enough.")
            _take(holder.free, product.asset, amount)
        else:
            if not product.can_redeem:
                raise VenueError(-6008, "Product not in redeem status.")
            if amount > self.position(account, product.asset):
                raise VenueError(-6006, "Redeem amount error.")
            self._holding(holder, product.asset).move(-amount, now)
        holder.earned_at[kind] = now
        record = EarnRecord(
            self._next_id(), kind, product.asset, product_id, amount, now, now + invisible_ms, now + pending_ms, fails
        )
        holder.earn_records.append(record)
        holder.earn_on_the_way.append(record)
        self.settle(account)
        return record

    def position(self, account: str, asset: str) -> Decimal:
        """Return what is in the product, interest to this minute included."""
        holding = self._account(account).holdings.get(asset)
        return ZERO if holding is None else holding.value(self.now_ms())

    def records(self, account: str, kind: EarnKind, asset: str | None = None) -> list[EarnRecord]:
        """Return the visible operations of one kind, oldest first."""
        now = self.now_ms()
        return [
            record
            for record in self._account(account).earn_records
            if record.kind == kind and record.visible_from_ms <= now and asset in (None, record.asset)
        ]

    def rewards(self, account: str, asset: str | None = None) -> list[Reward]:
        """Return the visible interest, oldest first."""
        last_ms = self.now_ms() - self.rewards_late_ms
        found = [one for one in self._account(account).rewards if one.time_ms <= last_ms and asset in (None, one.asset)]
        return sorted(found, key=lambda one: one.time_ms)

    def transfers(self, account: str, kind: TransferKind, asset: str | None = None) -> list[Transfer]:
        """Return the visible deposits or withdrawals, oldest first, whatever became of them."""
        now = self.now_ms()
        return [
            one
            for one in self._account(account).transfers
            if one.kind == kind and one.visible_from_ms <= now and asset in (None, one.asset)
        ]

    def settle(self, account: str) -> None:
        """Bring everything to this moment: what was on its way and has arrived, and interest."""
        holder, now = self.accounts[account], self.now_ms()
        arrived = [record for record in holder.earn_on_the_way if record.ends_ms <= now]
        for record in sorted(arrived, key=lambda record: record.ends_ms):
            holder.earn_on_the_way.remove(record)
            if (record.kind == "subscribe") != record.fails:
                holding = self._holding(holder, record.asset)
                holder.rewards += holding.settle(record.ends_ms)
                holding.move(record.amount, record.ends_ms)
            else:
                _put(holder.free, record.asset, record.amount)
        for transfer in [one for one in holder.transfers_on_the_way if one.credited_ms <= now]:
            holder.transfers_on_the_way.remove(transfer)
            _put(holder.free, transfer.asset, transfer.amount)
        for holding in holder.holdings.values():
            holder.rewards += holding.settle(now)

    def _account(self, name: str) -> VenueAccount:
        self.settle(name)
        return self.accounts[name]

    def _holding(self, holder: VenueAccount, asset: str) -> Holding:
        if asset not in holder.holdings:
            holder.holdings[asset] = Holding(self._product_of(asset), self.now_ms())
        return holder.holdings[asset]

    def _product_of(self, asset: str) -> VenueProduct:
        if asset not in self.products:
            raise ValueError(f"the venue has no flexible product of {asset}: offer one first")
        return self.products[asset]

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids


def total_of(account: VenueAccount, asset: str, now_ms: int) -> Decimal:
    """Return all of an asset that is the account's: spot, savings, and what is on its way between them."""
    holding = account.holdings.get(asset)
    return (
        account.free.get(asset, ZERO)
        + account.locked.get(asset, ZERO)
        + (ZERO if holding is None else holding.value(now_ms))
        + _sum(record.amount for record in account.earn_on_the_way if record.asset == asset)
    )


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)


def _put(free: dict[str, Decimal], asset: str, amount: Decimal) -> None:
    free[asset] = free.get(asset, ZERO) + amount


def _take(free: dict[str, Decimal], asset: str, amount: Decimal) -> None:
    if amount > free.get(asset, ZERO):
        raise ValueError(f"there is not so much {asset} to take: {amount}")
    free[asset] -= amount
