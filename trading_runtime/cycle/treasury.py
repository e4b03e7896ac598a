"""The treasury of a cycle: money that is not needed goes into savings and comes back when a buy needs it, and the coin
that fees are paid with is topped up.

Trouble here ends the treasury's part of a cycle, with a note: buys wait for their money, sells go on. How much to move
is the business of ``core/treasury.py``, how one movement is made that of ``savings.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from decimal import Context as DecimalContext
from typing import Any, NamedTuple

from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable
from trading_runtime.core.intents import Intent
from trading_runtime.core.refusals import Refusal
from trading_runtime.core.state import Order
from trading_runtime.core.treasury import (
    ZERO,
    Move,
    TreasuryTerms,
    buffer_move,
    fuel_intent,
    fuel_refusal,
    redeem_for,
)
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.context import Context
from trading_runtime.cycle.savings import carry_out, end_movement, follow, is_settled, one_line, stop_treasury
from trading_runtime.exchanges.port import Balance, Exchange, Savings

# What a market buy may cost beyond its value at the present price: the price moves before the order arrives.
MARKET_MARGIN = Decimal("1.005")
_CONTEXT = DecimalContext(prec=60, rounding=ROUND_HALF_EVEN)


@dataclass
class Treasury:
    """What a cycle knows of its treasury. ``savings_asset`` is the money that may be in savings, None where savings are
    not this account's; ``trouble`` says why nothing more is moved of itself in this cycle, ``sent_ms`` when a movement
    of a kind was last sent.
    """

    terms: TreasuryTerms
    savings_asset: str | None = None
    trouble: str = field(default="", compare=False)
    sent_ms: dict[str, int] = field(default_factory=dict, compare=False)


class Fuel(NamedTuple):
    """The buy of the coin that fees are paid with, and what it was found necessary by, for the facts of a decision."""

    intent: Intent
    facts: dict[str, Any]


def settle_savings(context: Context) -> None:
    """Find out what became of movements that an earlier cycle, or a process that died, left in flight."""
    account = context.account
    for record in list(account.earn.values()):
        if record.phase == "planned":
            end_movement(context, record, "never_sent")  # what is needed now is measured now
            continue
        savings = context.exchange.savings
        if savings is None:
            stop_treasury(context, f"{record.name} is in flight, and there are no savings here to ask about it")
        else:
            follow(context, savings, record)
    if account.unjournaled:
        context.keeper.save()


def savings_balance(context: Context) -> Decimal:
    """Return what of the account's money is in savings or on its way, for account sync. Zero where there are none, and
    where the exchange does not tell: then the book has more than is seen, which stops new risk.
    """
    found = savings_of(context)
    if found is None:
        return ZERO
    try:
        return money_in_savings(context.account, context.exchange, found[1])
    except (ExchangeUnavailable, ConfigurationError) as error:
        stop_treasury(context, str(error))
        return ZERO


def money_in_savings(account: Account, exchange: Exchange, asset: str) -> Decimal:
    """Return what of ``asset`` is in savings or on its way, zero where there are none. Raises ExchangeUnavailable, and
    ConfigurationError for credentials.
    """
    if exchange.savings is None:
        return ZERO
    record = account.earn.get(asset)
    under_way = record.amount if record is not None and record.phase == "pending" else ZERO
    return _CONTEXT.add(exchange.savings.earn_position(asset), under_way)


def make_room_for(context: Context, order: Order) -> bool:
    """Have the money on spot that an order needs, before it is claimed: what is short is taken out of savings. Returns
    False while the money is not there, though savings have it or may have it: then the order waits.
    """
    instrument = context.instruments[order.symbol]
    treasury = context.treasury
    if order.side < 0 or instrument.kind != "spot" or treasury is None or treasury.savings_asset != instrument.quote:
        return True
    savings, asset = context.exchange.savings, instrument.quote
    if savings is None:
        return True
    try:
        free = _spot_free(context, asset)
        cost = _cost(context, order)
        if cost is not None and free >= cost:
            return True
        if is_settled(context, savings, asset):
            if savings.earn_position(asset) <= ZERO:
                return True  # there is no more money anywhere: the exchange says whether it is enough
            if cost is not None and _redeem(context, savings, asset, cost, order.order_id):
                return True
        detail = f"its {asset} are still in savings" if cost is not None else "its price is not known right now"
    except (ExchangeUnavailable, ConfigurationError) as error:
        stop_treasury(context, str(error))
        detail = f"savings could not be asked: {one_line(error)}"
    context.note("order_waits", order_id=order.order_id, detail=detail)
    return False


def tidy_savings(context: Context) -> None:
    """Bring the money on spot back to its buffer. Into savings only while new risk is allowed, and no order waits."""
    found = savings_of(context)
    treasury, account = context.treasury, context.account
    if found is None or treasury is None or not treasury.terms.earn_buffer or treasury.trouble:
        return
    if account.in_phase("planned", "claimed"):
        return
    savings, asset = found

    def measure() -> Move | None:
        move = buffer_move(_spot_free(context, asset), savings.earn_position(asset), treasury.terms)
        return None if move is not None and move.kind == "subscribe" and not context.is_risk_allowed else move

    try:
        if is_settled(context, savings, asset):
            carry_out(context, savings, asset, measure, "buffer")
    except (ExchangeUnavailable, ConfigurationError) as error:
        stop_treasury(context, str(error))


def plan_fuel(context: Context, balances: Mapping[str, Balance], marks: Mapping[str, float]) -> Fuel | Refusal | None:
    """Return the buy of the coin that fees are paid with when there is too little of it, for ``resolve`` to decide by
    the same book and gates as the strategy's intents; a refusal when the money is not there. None when there is enough,
    while an order in it is under way, and where its price is not known.
    """
    treasury = context.treasury
    symbol = None if treasury is None else treasury.terms.fuel_symbol
    if treasury is None or symbol is None or symbol not in marks or symbol not in context.instruments:
        return None
    if any(record.order.symbol == symbol for record in context.account.records.values()):
        return None
    instrument = context.instruments[symbol]
    held = balances[instrument.base].total if instrument.base in balances else ZERO
    value = _CONTEXT.multiply(held, Decimal(repr(marks[symbol])))
    cash = _CONTEXT.multiply(Decimal(context.account.state.cash), instrument.quote_unit)
    intent = fuel_intent(value, cash, treasury.terms)
    if intent is None:
        return fuel_refusal(value, cash, treasury.terms)
    facts = {
        "category": "fuel",
        "action": "buy",
        "symbol": symbol,
        "budget": float(treasury.terms.fuel_top_up),
        "price": float(marks[symbol]),
        "value": float(value),
        "reason": "fuel_low",
    }
    return Fuel(intent, facts)


def savings_in_doubt(context: Context) -> list[str]:
    """Names of the movements whose end is not known yet: the next cycle asks."""
    return [record.name for record in context.account.earn.values() if record.phase != "planned"]


def _redeem(context: Context, savings: Savings, asset: str, cost: Decimal, cause: str) -> bool:
    """Take out of savings what ``cost`` lacks on spot. Returns whether it can be paid, or all there is has been taken
    out for it.
    """
    wanted = cost

    def measure() -> Move | None:
        nonlocal wanted
        free = _spot_free(context, asset)
        amount = redeem_for(cost, free, savings.earn_position(asset))
        wanted = min(cost, _CONTEXT.add(free, amount))
        return Move("redeem", amount) if amount > ZERO else None

    fate = carry_out(context, savings, asset, measure, cause)
    return fate == "nothing" or (fate == "done" and _arrives(context, asset, wanted))


# What is asked.


def savings_of(context: Context) -> tuple[Savings, str] | None:
    """The exchange's savings and the asset that is kept there; None where this account has none."""
    treasury, savings = context.treasury, context.exchange.savings
    if treasury is None or treasury.savings_asset is None or savings is None:
        return None
    return savings, treasury.savings_asset


def _spot_free(context: Context, asset: str) -> Decimal:
    balances = context.exchange.balances()
    return balances[asset].free if asset in balances else ZERO


def _cost(context: Context, order: Order) -> Decimal | None:
    """Quote money that a buy needs, fee included; None when nobody knows the price."""
    instrument = context.instruments[order.symbol]
    price, margin = order.price, Decimal(1)
    if price is None:
        price, margin = context.exchange.quote_price(instrument.base, instrument.quote), MARKET_MARGIN
    if price is None or not 0.0 < price < float("inf"):
        return None
    fee_rate = Decimal(repr(instrument.rules_at(order.slot).taker_fee_rate))
    quantity = _CONTEXT.multiply(Decimal(order.remaining), instrument.quantity_unit)
    value = _CONTEXT.multiply(quantity, Decimal(repr(float(price))))
    return _CONTEXT.multiply(_CONTEXT.multiply(value, margin), _CONTEXT.add(Decimal(1), fee_rate))


def _arrives(context: Context, asset: str, wanted: Decimal) -> bool:
    """Whether redeemed money can be spent: asked a few times, for it may show on spot a moment later."""
    return any(_spot_free(context, asset) >= wanted for _ in context.looks())
