"""What the BTC core does in a slot: buy by valuation with the cash left to it, and trim when far too dear.

Each at most once per UTC date; what was wanted and not done is a refusal under its documented gate. The rules are in
``accumulation.py``; the trend sleeve is in ``trend_orders.py``.
"""

from __future__ import annotations

import math

from trading_runtime.strategies.live_pool.accumulation import TrimRules, buy_multiplier, trim_fraction
from trading_runtime.strategies.live_pool.allocation import Allocation
from trading_runtime.strategies.live_pool.attempts import attempt_key, is_done
from trading_runtime.strategies.live_pool.draft import Draft
from trading_runtime.strategies.live_pool.situation import Situation
from trading_runtime.strategies.live_pool.sizing import lots_for_budget, lots_of_share, quantity_of_lots

CATEGORY = "btc_dca"


def accumulate(given: Situation, draft: Draft, *, latched: bool) -> None:
    """Buy, then trim. While any input of either is missing, neither: nothing defaults to acting."""
    needed = {"ahr999": given.ahr999, "zscore": given.zscore, "sell_trigger": given.sell_trigger}
    missing = [name for name, value in needed.items() if math.isnan(value)]
    if missing:
        draft.refuse("btc_dca_missing_inputs", CATEGORY, given.core, "", f"missing: {', '.join(missing)}")
        return
    allocation, minimum = draft.allocation(), given.params.dca_pool_minimum
    if allocation.btc_cash <= minimum and given.btc_value <= minimum:
        detail = f"cash {allocation.btc_cash:.2f}, BTC worth {given.btc_value:.2f}: neither is more than {minimum:g}"
        draft.refuse("btc_dca_pool_too_small", CATEGORY, given.core, "", detail)
        return
    _buy(given, draft, allocation, latched=latched)
    _trim(given, draft)
    both = [attempt_key(given.core, leg) for leg in ("dca_buy", "dca_sell")]
    if all(key in draft.told for key in both):
        # They may leave the quantity as it was: nobody could tell afterwards that they happened, so they count as done.
        for key in both:
            draft.attempts[key]["done"] = True


def _buy(given: Situation, draft: Draft, allocation: Allocation, *, latched: bool) -> None:
    params, core, leg = given.params, given.core, "dca_buy"
    multiplier = buy_multiplier(
        given.ahr999,
        (
            (params.dca_deep_ahr999, params.dca_deep_multiplier),
            (params.dca_low_ahr999, params.dca_low_multiplier),
            (params.dca_fair_ahr999, params.dca_fair_multiplier),
        ),
    )
    price, lot = given.inputs.price, given.inputs.lot_of(core)
    budget = min(allocation.btc_cash, allocation.base_order * multiplier)
    lots = lots_for_budget(budget, params.buy_budget_fraction, price, lot)
    if latched:
        draft.refuse("btc_dca_buy_latched_breaker", CATEGORY, core, leg, f"until {given.today} is over (UTC)")
    elif not given.inputs.permissions.new_risk:
        draft.refuse("btc_dca_buy_new_risk_withheld", CATEGORY, core, leg, "the account may take no new risk")
    elif not multiplier > 0.0:
        draft.refuse("btc_dca_buy_valuation_gate_off", CATEGORY, core, leg, f"ahr999 {given.ahr999:.6g}")
    elif not allocation.btc_cash > params.buy_budget_minimum:
        detail = f"cash {allocation.btc_cash:.2f}, not more than {params.buy_budget_minimum:g}"
        draft.refuse("btc_dca_buy_below_min_budget", CATEGORY, core, leg, detail)
    elif is_done(draft.attempts, core, leg):
        draft.refuse("btc_dca_buy_duplicate_cooldown", CATEGORY, core, leg, f"bought on {given.today} already")
    elif not lots:
        detail = f"budget {budget:.2f} at {price:g} buys no lot of {lot:g}"
        draft.refuse("btc_dca_buy_zero_order_size", CATEGORY, core, leg, detail)
    else:
        told = {
            "category": CATEGORY,
            "price": price,
            "budget": budget,
            "ahr999": given.ahr999,
            "reason": "ahr999_low",
        }
        draft.buy(core, leg, quantity_of_lots(lots, lot), told)


def _trim(given: Situation, draft: Draft) -> None:
    params, core, leg = given.params, given.core, "dca_sell"
    rules = TrimRules(
        params.trim_fraction,
        params.trim_high_zscore,
        params.trim_high_fraction,
        params.trim_extreme_zscore,
        params.trim_extreme_fraction,
    )
    fraction = trim_fraction(given.zscore, given.sell_trigger, rules)
    if fraction == 0.0:
        return
    lot = given.inputs.lot_of(core)
    lots = lots_of_share(given.btc_quantity, fraction, lot)
    if not given.btc_value > params.trim_position_minimum:
        detail = f"worth {given.btc_value:.2f}, not more than {params.trim_position_minimum:g}"
        draft.refuse("btc_dca_sell_below_min_position", CATEGORY, core, leg, detail)
    elif is_done(draft.attempts, core, leg):
        draft.refuse("btc_dca_sell_duplicate_cooldown", CATEGORY, core, leg, f"trimmed on {given.today} already")
    elif not lots:
        detail = f"{fraction:.0%} of {given.btc_quantity:g} is no lot of {lot:g}"
        draft.refuse("btc_dca_sell_zero_order_size", CATEGORY, core, leg, detail)
    else:
        told = {
            "category": CATEGORY,
            "price": given.inputs.price,
            "zscore": given.zscore,
            "sell_fraction": fraction,
            "reason": "zscore_above_trigger",
        }
        draft.sell(core, leg, fraction, quantity_of_lots(lots, lot), told)
