"""Buy once and hold: the smallest strategy, and the benchmark of the others.

Teaches: ``decide`` gets the inputs of one closed bar and returns a proposal, or None for nothing. What a strategy must
remember travels in its state, here that it has bought.
"""

from __future__ import annotations

from trading_runtime.core.intents import target
from trading_runtime.core.parameters import Parameters, parameter
from trading_runtime.core.strategy import Inputs, Proposal, Strategy


class BuyAndHold(Strategy):
    """Buys every symbol of the run in equal parts at the first bar."""

    class Params(Parameters):
        weight = parameter(
            0.95, minimum=0.0, maximum=1.0, step=0.05, help="share of equity to invest; the rest pays fees"
        )

    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.state.get("bought"):
            return None
        weight = self.params.weight / len(inputs.symbols)
        return Proposal(
            [target(symbol, weight, reason="first bar") for symbol in inputs.symbols], state={"bought": True}
        )
