"""One movement of money into savings or out of them: planned, claimed, sent once, and followed until it has ended.

    plan, saved ─► claim (compare-and-set) ─► sent once, stamped ─► confirmed by the exchange's history ─► noted, saved

It keeps the order of steps of an order. It has no client id: the history tells it by kind, asset, exact amount and
time. One whose fate is unknown is asked for until the request can no longer act; before that nothing else is moved of
that asset. What is moved next is always measured anew, never repeated. When to move what is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable, FateUnknown
from trading_runtime.core.instruments import decimal_text
from trading_runtime.core.treasury import Move
from trading_runtime.cycle.account import Claim, EarnRecord
from trading_runtime.cycle.context import ATTEMPTS_MAX, FORGOTTEN_MS, VISIBILITY_MS, Context
from trading_runtime.exchanges.port import EarnOperation, EarnProduct, NotPlaced, Savings

# A history may tell whole seconds, so an operation can seem a little older than the claim it was sent under.
HISTORY_TOLERANCE_MS = 2_000
PAUSE_SECONDS_MAX = 30.0
# Binance takes one movement of a kind in three seconds ("Rate limit: 1/3s per account" of its subscribe page).
SPACING_SECONDS = 3.0
# Operations are asked for from their claim on; no two of the same amount lie that far back.
SEEN_MAX = 64

Fate = Literal["done", "nothing", "not_moved", "refused", "unknown"]
Measure = Callable[[], Move | None]


def is_settled(context: Context, savings: Savings, asset: str) -> bool:
    """Whether no movement of the asset is in flight; one that is, is asked for."""
    record = context.account.earn.get(asset)
    if record is None:
        return True
    if record.phase == "planned":
        end_movement(context, record, "never_sent")
        return True
    return follow(context, savings, record) != "unknown"


def carry_out(context: Context, savings: Savings, asset: str, measure: Measure, cause: str) -> Fate:
    """Move what ``measure`` asks for; what certainly did not happen is measured and tried again, a few times."""
    assert context.treasury is not None
    for attempt in range(1, ATTEMPTS_MAX + 1):
        move = measure()
        if move is None:
            return "nothing"
        product = savings.earn_product(asset)
        if product is None or not (product.can_subscribe if move.kind == "subscribe" else product.can_redeem):
            context.note("savings_closed", kind=move.kind, asset=asset, amount=decimal_text(move.amount))
            return "refused"
        if move.kind == "subscribe" and move.amount < product.subscribe_minimum:
            return "nothing"
        fate = _move(context, savings, product, move, cause, attempt)
        if fate != "not_moved" or context.treasury.trouble:
            return fate
    context.note("savings_given_up", asset=asset, detail=f"not moved in {ATTEMPTS_MAX} attempts")
    return "refused"


def _move(context: Context, savings: Savings, product: EarnProduct, move: Move, cause: str, attempt: int) -> Fate:
    """Plan, claim, send once and confirm one movement."""
    keeper, account, treasury = context.keeper, context.account, context.treasury
    assert treasury is not None
    number = account.entries + 1
    record = EarnRecord(
        move.kind, product.asset, product.product_id, move.amount, cause, "planned", context.slot, number
    )
    account.earn[record.asset] = record
    _tell(context, "savings_planned", record)
    keeper.save()
    if move.kind in treasury.sent_ms:
        since_seconds = (context.clock.now_ms() - treasury.sent_ms[move.kind]) / 1000.0
        context.clock.sleep(min(max(SPACING_SECONDS - since_seconds, 0.0), SPACING_SECONDS))
    keeper.hold()
    record.attempts = attempt
    record.claim = Claim(context.exchange.server_time_ms(), attempt, keeper.token, keeper.holder)
    record.phase = "claimed"
    account.note({"event": "savings_claimed", "movement": record.number, **record.claim._asdict()})
    try:
        keeper.save()
    except BaseException:
        record.phase = "planned"  # whatever became of the write: this process will not send it
        raise
    context.sent += 1
    treasury.sent_ms[move.kind] = context.clock.now_ms()
    try:
        record.operation_id = savings.move_earn(record.kind, product, record.amount, record.claim.stamp_ms)
    except NotPlaced as refused:
        return _not_moved(context, savings, record, refused)
    except (FateUnknown, ConfigurationError, ExchangeUnavailable) as unknown:
        context.note("savings_fate_unknown", movement=record.number, detail=one_line(unknown))
        if isinstance(unknown, ConfigurationError):
            stop_treasury(context, str(unknown))
    fate = follow(context, savings, record)
    keeper.save()
    return fate


def _not_moved(context: Context, savings: Savings, record: EarnRecord, refused: NotPlaced) -> Fate:
    """The exchange certainly has not moved it: end it, and say whether to measure and try again."""
    context.note("savings_refused", movement=record.number, reason=refused.reason, detail=one_line(refused))
    if refused.reason == "duplicate":
        fate = follow(context, savings, record)
        context.keeper.save()
        return fate
    end_movement(context, record, refused.reason)
    context.keeper.save()
    if refused.reason == "too_late":
        return "not_moved"
    if refused.reason in ("rate_limit", "unreachable"):
        pause = refused.retry_seconds if refused.retry_seconds is not None else SPACING_SECONDS
        if pause <= PAUSE_SECONDS_MAX:
            context.clock.sleep(pause)
            return "not_moved"
    return "refused"


def follow(context: Context, savings: Savings, record: EarnRecord) -> Fate:
    """Ask the history until it is certain how a claimed movement ended, and note it; ``unknown`` leaves it in flight,
    for the next cycle to ask again.
    """
    claim, window = record.claim, context.exchange.capabilities.validity_window_ms
    assert claim is not None
    certain_ms = claim.stamp_ms + (FORGOTTEN_MS if window is None else window + VISIBILITY_MS)
    waited = 0.0
    pause = 0.0
    while True:
        try:
            asked_ms = context.exchange.server_time_ms()
            found = _in_history(context, savings, record, claim)
        except (ExchangeUnavailable, ConfigurationError) as error:
            stop_treasury(context, str(error))
            return "unknown"
        if found is not None:
            record.operation_id = found.operation_id
            if found.status == "done":
                end_movement(context, record, "")
                return "done"
            if found.status == "failed":
                end_movement(context, record, "failed")
                return "not_moved"
            record.phase = "pending"
        elif asked_ms > (certain_ms if not record.operation_id else claim.stamp_ms + FORGOTTEN_MS):
            # Nothing acts on a request that is older than its window; what was accepted is shown within minutes.
            end_movement(context, record, "not_shown" if record.operation_id else "not_there")
            return "not_moved"
        limit, pause_max = context.patience.confirm_seconds, context.patience.pause_seconds * 4.0
        is_open = found is None and not record.operation_id
        if waited >= limit or (is_open and window is None):
            return "unknown"
        pause = (certain_ms - asked_ms) / 1000.0 + 0.001 if is_open else pause * 2.0
        pause = min(max(pause, 0.1), pause_max, limit)
        context.clock.sleep(pause)
        waited += pause


def _in_history(context: Context, savings: Savings, record: EarnRecord, claim: Claim) -> EarnOperation | None:
    """Return the movement as the exchange's history tells it: under its id where that is known, else the first one of
    this kind and exact amount since the claim that is no other movement's.
    """
    since_ms = claim.stamp_ms - HISTORY_TOLERANCE_MS
    seen = context.account.earn_seen
    for one in savings.earn_operations(record.kind, record.asset, since_ms):
        if record.operation_id:
            if one.operation_id == record.operation_id:
                return one
        elif one.amount == record.amount and one.time_ms >= since_ms and _key(record, one.operation_id) not in seen:
            return one
    return None


def end_movement(context: Context, record: EarnRecord, reason: str) -> None:
    """Take a movement out, and note how it ended; no ``reason``: the money has moved."""
    account = context.account
    del account.earn[record.asset]
    if record.operation_id:
        account.earn_seen.append(_key(record, record.operation_id))
        del account.earn_seen[:-SEEN_MAX]
    if reason:
        _tell(context, "savings_not_moved", record, reason=reason)
    else:
        _tell(context, "savings_moved", record, operation_id=record.operation_id)


def _tell(context: Context, event: str, record: EarnRecord, **facts: str) -> None:
    context.note(
        event,
        movement=record.number,
        kind=record.kind,
        asset=record.asset,
        amount=decimal_text(record.amount),
        cause=record.cause,
        **facts,
    )


def _key(record: EarnRecord, operation_id: str) -> str:
    return f"{record.kind}:{operation_id}"


def stop_treasury(context: Context, text: str) -> None:
    """Nothing more is moved in this cycle."""
    line = " ".join(text.split())
    if context.treasury is not None and not context.treasury.trouble:
        context.treasury.trouble = line
    context.note("treasury_stopped", detail=line)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())
