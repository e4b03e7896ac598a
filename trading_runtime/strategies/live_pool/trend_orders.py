"""What the trend sleeve does in a slot: sell all after a breaker, sell by the exit rules, buy what is selected.

Every buy that was wanted and not made is a refusal under its documented gate. The rules are in ``trend.py`` and
``breaker.py``; the BTC core is in ``core_orders.py``.
"""

from __future__ import annotations

import math

from trading_runtime.strategies.live_pool.attempts import attempt_key, is_done
from trading_runtime.strategies.live_pool.breaker import (
    BreakerDay,
    breaker_day_from_json,
    decided_day,
    opened_day,
    profit_fraction,
    profit_since,
    trips,
)
from trading_runtime.strategies.live_pool.draft import Draft
from trading_runtime.strategies.live_pool.situation import Holding, Situation
from trading_runtime.strategies.live_pool.sizing import lots_for_budget, quantity_of_lots
from trading_runtime.strategies.live_pool.trend import budgets, exit_reason

CATEGORY = "trend"


def measured_day(given: Situation, draft: Draft) -> tuple[BreakerDay, float, bool]:
    """Return the breaker's day, latched if it has tripped; its profit in quote money; whether it tripped just now."""
    profit_of = given.inputs.profit_of
    capital = draft.before.trend_value + draft.before.trend_cash
    kept = breaker_day_from_json(given.inputs.state.get("breaker"))
    day = opened_day(kept, given.today, capital, {*given.pooled, *given.held, *given.suspended}, profit_of)
    day = decided_day(day, capital, profit_of)
    profit = profit_since(day, profit_of)
    fraction = profit_fraction(profit, day.base)
    if day.latched or not trips(fraction, given.params.breaker_loss_fraction):
        return day, profit, False
    draft.reasons.append(f"daily_circuit_breaker: the trend sleeve has made {fraction:.4%} of its capital today")
    return day._replace(latched=True), profit, True


def liquidate(given: Situation, draft: Draft) -> None:
    """Sell everything of the sleeve that is worth it. Called in every slot while the breaker is latched: what did not
    sell is tried again.
    """
    minimum = given.params.breaker_sell_minimum
    for symbol, held in given.held.items():
        if held.value > minimum:
            _sell(symbol, held, "breaker", "daily_circuit_breaker", draft)
        elif held.value <= minimum:  # neither, without a price: sell_by_rule says so
            detail = f"worth {held.value:.2f}, not more than {minimum:g}"
            draft.refuse("circuit_breaker_sell_below_min_position", CATEGORY, symbol, "breaker", detail)


def sell_by_rule(given: Situation, draft: Draft) -> None:
    """Sell what the exit rules say. Those that need BTC rest while anything of it is missing; the others do not."""
    rotation_known = given.pool is not None and not given.btc.missing()
    for symbol, held in given.held.items():
        if attempt_key(symbol, "breaker") in draft.told:
            continue
        if math.isnan(held.price):
            draft.refuse("trend_missing_inputs", CATEGORY, symbol, "trend_sell", "it is held and has no price")
            continue
        if symbol in given.retired:
            is_rotated_out: bool | None = True  # it left the pool: BTC has no say in that
        else:
            is_rotated_out = symbol not in given.weights if rotation_known else None
        reason = exit_reason(
            held.price,
            given.own[symbol],
            given.highest[symbol],
            given.params.atr_multiple,
            is_rotated_out=is_rotated_out,
        )
        if reason is not None:
            _sell(symbol, held, "trend_sell", reason, draft)


def buy_selected(given: Situation, draft: Draft, *, latched: bool) -> None:
    """Buy the selected symbols that are not held, with the sleeve's cash as it is after the sales."""
    params, leg = given.params, "trend_buy"
    blocked = _refuse_entries(given, draft, latched=latched)
    if given.pool is not None and not given.weights:
        draft.refuse("trend_no_selected_candidate", CATEGORY, "", leg, _candidates_text(given))
    if blocked or not given.weights:
        return
    eligible = [symbol for symbol in given.weights if symbol not in given.held]
    if not eligible:
        draft.refuse("trend_no_eligible_buy", CATEGORY, "", leg, f"held already: {', '.join(given.weights)}")
        return
    scores = {one.symbol: one.relative_score for one in given.candidates}
    # The cash before any of the buys, for all of them: which is bought first must not matter.
    for symbol, (budget, weight) in budgets(given.weights, eligible, draft.allocation().trend_cash).items():
        price, lot = given.inputs.price_of(symbol), given.inputs.lot_of(symbol)
        lots = lots_for_budget(budget, params.buy_budget_fraction, price, lot)
        if not budget > params.buy_budget_minimum:
            detail = f"budget {budget:.2f}, not more than {params.buy_budget_minimum:g}"
            draft.refuse("trend_buy_below_min_budget", CATEGORY, symbol, leg, detail)
        elif is_done(draft.attempts, symbol, leg):
            draft.refuse("trend_buy_duplicate_cooldown", CATEGORY, symbol, leg, f"bought on {given.today} already")
        elif not lots:
            detail = f"budget {budget:.2f} at {price:g} buys no lot of {lot:g}"
            draft.refuse("trend_buy_zero_order_size", CATEGORY, symbol, leg, detail)
        else:
            quantity = quantity_of_lots(lots, lot)
            told = {
                "category": CATEGORY,
                "price": price,
                "budget": budget,
                "weight": weight,
                "relative_score": scores[symbol],
                "reason": "selected",
            }
            if draft.buy(symbol, leg, quantity, told):
                draft.trend_value += quantity * price


def _sell(symbol: str, held: Holding, leg: str, reason: str, draft: Draft) -> None:
    told = {"category": CATEGORY, "price": held.price, "reason": reason}
    if draft.sell(symbol, leg, 1.0, held.quantity, told):
        draft.trend_value -= held.value


def _refuse_entries(given: Situation, draft: Draft, *, latched: bool) -> bool:
    """Refuse new positions for every cause there is; returns whether there is one."""
    publication, leg = given.publication, "trend_buy"
    before = len(draft.refusals)
    if publication is None:
        draft.refuse("trend_no_artifact", CATEGORY, "", leg, "no publication of the pool could be had")
    elif not publication.new_entries:
        draft.refuse("trend_buy_paused_degraded_mode", CATEGORY, "", leg, publication.source_kind)
    if latched:
        draft.refuse("trend_buy_latched_breaker", CATEGORY, "", leg, f"until {given.today} is over (UTC)")
    if not given.inputs.permissions.new_risk:
        draft.refuse("trend_buy_new_risk_withheld", CATEGORY, "", leg, "the account may take no new risk")
    missing = given.btc.missing()
    if missing:
        draft.refuse("trend_missing_inputs", CATEGORY, given.core, leg, f"missing: {', '.join(missing)}")
    return len(draft.refusals) > before


def _candidates_text(given: Situation) -> str:
    parts = [f"pool size {len(given.candidates)}"]
    for one in given.candidates:
        scores = f"relative {_rounded(one.relative_score)}, absolute {_rounded(one.absolute_momentum)}"
        parts.append(f"{one.symbol}: {' '.join(one.reasons)} ({scores})")
    return "; ".join(parts)


def _rounded(score: float | None) -> str:
    # Six decimals as in the facts: "g" alone would give six digits, 4.12346 for 4.123457.
    return "unknown" if score is None else f"{round(score, 6):.15g}"
