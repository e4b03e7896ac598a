"""Momentum rotation: every so many hours hold the strongest few of many symbols, weighted by inverse volatility.

Teaches: a portfolio. ``universe=True`` gives one value per symbol; ranking is plain Python; several target weights
leave one decision, and the runtime places reductions before purchases.
"""

from __future__ import annotations

from trading_runtime.core.columns import P, indicator
from trading_runtime.core.intents import target
from trading_runtime.core.parameters import Parameters, parameter
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.core.timeframes import HOUR_MS


class MomentumRotation(Strategy):
    """Ranks symbols by their rate of change and holds the best ``hold`` of those that rose."""

    class Params(Parameters):
        lookback = parameter(168, minimum=24, maximum=720, step=24, help="bars of the momentum")
        hold = parameter(2, minimum=1, maximum=5, step=1, help="symbols held at most")
        rebalance_hours = parameter(24, minimum=1, maximum=168, step=1, help="hours between two rankings")
        weight = parameter(0.95, minimum=0.1, maximum=1.0, step=0.05, help="share of equity invested in all")

    momentum = indicator("rate_of_change", "close", length=P.lookback, universe=True)
    deviation = indicator(
        "rolling_std", indicator("rate_of_change", "close", length=1), length=P.lookback, universe=True
    )

    def decide(self, inputs: Inputs) -> Proposal | None:
        ranked_at = inputs.state.get("ranked_at")
        if ranked_at is not None and inputs.as_of - ranked_at < self.params.rebalance_hours * HOUR_MS:
            return None
        ranked = sorted(
            (
                (-momentum, index)  # equal momentum: the run's own order of symbols decides
                for index, (momentum, deviation) in enumerate(zip(inputs.momentum, inputs.deviation, strict=True))
                if momentum > 0.0 and deviation > 0.0
            ),
        )[: self.params.hold]
        strength = {index: 1.0 / inputs.deviation[index] for _, index in ranked}
        total = sum(strength.values())
        held: dict[str, float] = inputs.state.get("weights", {})
        weights = {inputs.symbols[index]: self.params.weight * share / total for index, share in strength.items()}
        intents = [
            target(symbol, weights.get(symbol, 0.0), reason="momentum")
            for symbol in inputs.symbols
            if symbol in weights or symbol in held
        ]
        return Proposal(intents, state={"ranked_at": inputs.as_of, "weights": weights})
