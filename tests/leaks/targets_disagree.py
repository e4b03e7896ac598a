"""The hand-written decide uses >= where targets say >, and forgets that NaN is no opinion."""

from __future__ import annotations

from trading_runtime.core.columns import indicator, where
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "targets"


class TargetsDisagree(Strategy):
    high = indicator("rolling_max", "high", length=3)
    before = indicator("rolling_max", "high", length=3).lag(1)
    targets = where(high > before, 0.9, 0.0)

    def decide(self, inputs: Inputs) -> Proposal | None:
        held = inputs.state.get("targets", {})
        weight = 0.9 if inputs.high >= inputs.before else 0.0
        if held.get(inputs.symbol, 0.0) == weight:
            return None
        return Proposal(
            [target(inputs.symbol, weight, reason="target")],
            state={**inputs.state, "targets": {**held, inputs.symbol: weight}},
        )
