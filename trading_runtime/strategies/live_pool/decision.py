"""One decision of the live pool: the breaker, then exits, then entries, then BTC bought, then BTC trimmed.

Each step works on what the account would be after the steps before it, at the prices of the slot. Here are the order of
the steps, the state that is carried on and the facts for people; the steps are beside this file.
"""

from __future__ import annotations

import math
from typing import Any

from trading_runtime.core.strategy import Inputs, Proposal
from trading_runtime.strategies.live_pool.allocation import Allocation
from trading_runtime.strategies.live_pool.breaker import profit_fraction
from trading_runtime.strategies.live_pool.core_orders import accumulate
from trading_runtime.strategies.live_pool.draft import Draft
from trading_runtime.strategies.live_pool.situation import Situation
from trading_runtime.strategies.live_pool.trend import Candidate
from trading_runtime.strategies.live_pool.trend_orders import buy_selected, liquidate, measured_day, sell_by_rule


def proposal_for(inputs: Inputs, params: Any) -> Proposal:
    """Return what to do at this slot: intents, refusals, the state to carry on and the facts. ``params`` are those of
    the strategy. Raises StrategyError for inputs that the strategy cannot work with.
    """
    given = Situation(inputs, params)
    draft = Draft(given)
    day, profit, tripped = measured_day(given, draft)
    if day.latched:
        liquidate(given, draft)
    sell_by_rule(given, draft)
    buy_selected(given, draft, latched=day.latched)
    accumulate(given, draft, latched=day.latched)
    state = {**inputs.state, "highest": given.highest, "attempts": draft.attempts, "breaker": day.to_json()}
    if given.pool is not None:
        state["pool"] = given.pool.to_json()
    breaker = {
        "day": day.day,
        "profit": profit,
        "base": day.base,
        "profit_fraction": profit_fraction(profit, day.base),
        "latched": day.latched,
        "tripped": tripped,
    }
    facts = {**_facts_of(given, draft.before), "breaker": breaker, "intents": draft.told}
    return Proposal(draft.intents, state, draft.reasons, refusals=draft.refusals, facts=facts)


def _facts_of(given: Situation, before: Allocation) -> dict[str, Any]:
    pool: dict[str, Any] = {"retired": list(given.retired)}
    if given.publication is not None:
        pool |= {"source_kind": given.publication.source_kind, "degraded": given.publication.degraded}
    if given.pool is not None:
        pool |= {
            "version": given.pool.version,
            "as_of_date": given.pool.as_of_date,
            "official": list(given.pool.official),
            "execution": list(given.pool.symbols),
        }
    facts = {
        "pool": pool,
        "allocation": before._asdict(),
        "btc": _btc_facts(given),
        "candidates": [_candidate_facts(one, given.weights) for one in given.candidates],
    }
    if given.suspended:
        facts["suspended"] = {symbol: one._asdict() for symbol, one in given.suspended.items()}
    return facts


def _btc_facts(given: Situation) -> dict[str, Any]:
    """What is known of BTC; what is not is left out, because JSON knows no NaN."""
    values = {
        "price": given.btc.price,
        "ahr999": given.ahr999,
        "zscore": given.zscore,
        "sell_trigger": given.sell_trigger,
        "roc20": given.btc.roc20,
        "roc60": given.btc.roc60,
        "roc120": given.btc.roc120,
        "ma200": given.btc.ma200,
        "ma200_slope": given.btc.ma200_slope,
    }
    facts: dict[str, Any] = {name: value for name, value in values.items() if math.isfinite(value)}
    regime_on = given.btc.regime_on()
    if regime_on is not None:
        facts["regime_on"] = regime_on
    return facts


def _candidate_facts(one: Candidate, weights: dict[str, float]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "symbol": one.symbol,
        "selected": one.symbol in weights,
        "reasons": list(one.reasons),
    }
    for name, score in (("relative_score", one.relative_score), ("absolute_momentum", one.absolute_momentum)):
        if score is not None:
            facts[name] = round(score, 6)
    if one.symbol in weights:
        facts["weight"] = weights[one.symbol]
    return facts
