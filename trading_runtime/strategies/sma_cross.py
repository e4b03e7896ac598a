"""Moving-average cross: long from where the fast average rises above the slow one to where it falls below.

Teaches: parameters, which are also the sweep space; columns, declared over them; and ``targets``, a rule that only maps
columns to a weight. With ``targets`` alone the engine derives ``decide`` and can run the whole series, or a batch of
parameter sets, in compiled code. ``decide`` is written out here to show what it means; a property test and ``verify``
prove that both say the same.
"""

from __future__ import annotations

from trading_runtime.core.columns import NO_OPINION, P, indicator, where
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.intents import target
from trading_runtime.core.parameters import Parameters, parameter
from trading_runtime.core.strategy import Inputs, Proposal, Strategy


class SmaCross(Strategy):
    """Holds ``weight`` of equity after SMA(fast) > SMA(slow), nothing after SMA(fast) < SMA(slow); equal averages
    change nothing.
    """

    class Params(Parameters):
        fast = parameter(20, minimum=2, maximum=100, step=2, help="bars of the fast average")
        slow = parameter(50, minimum=10, maximum=400, step=10, help="bars of the slow average")
        weight = parameter(0.95, minimum=0.0, maximum=1.0, help="share of equity held while long")

        def check(self) -> None:
            if self.fast == self.slow:
                raise ConfigurationError(f"fast and slow are both {self.fast}: the averages would never cross")

    fast = indicator("sma", "close", length=P.fast, universe=True)
    slow = indicator("sma", "close", length=P.slow, universe=True)
    targets = where(fast > slow, P.weight, where(fast < slow, 0.0, NO_OPINION))

    def decide(self, inputs: Inputs) -> Proposal | None:
        held = inputs.state.get("targets", {})
        changed = {}
        for symbol, fast, slow in zip(inputs.symbols, inputs.fast, inputs.slow, strict=True):
            if not (fast > slow or fast < slow):
                continue  # equal, or NaN where the symbol has no bar: no opinion, what is held stays
            weight = self.params.weight if fast > slow else 0.0
            if weight != held.get(symbol, 0.0):
                changed[symbol] = weight
        if not changed:
            return None
        intents = [target(symbol, weight, reason="target") for symbol, weight in changed.items()]
        return Proposal(intents, state={**inputs.state, "targets": {**held, **changed}})
