"""Channel breakout with an ATR stop and take-profit, after Donchian's channel rule and Wilder's average true range.

Teaches: path-dependent exits. The entry carries two reducing orders with ``parent="entry"``: they reach the exchange
when the entry has filled and end when the position does, so inside one bar the pessimistic order decides which of them
it was. ``wake`` names the bars on which ``decide`` could act, so that the engine may skip the others; ``verify`` proves
that it skips none that matters.
"""

from __future__ import annotations

from trading_runtime.core.columns import P, indicator, wrap
from trading_runtime.core.intents import market, stop, take_profit
from trading_runtime.core.parameters import Parameters, parameter
from trading_runtime.core.strategy import Inputs, Proposal, Strategy


class Breakout(Strategy):
    """Buys when the close rises above the highest high of the bars before, and leaves at a stop or a profit measured in
    ATR.
    """

    class Params(Parameters):
        channel = parameter(55, minimum=10, maximum=200, step=5, help="bars of the channel")
        atr = parameter(14, minimum=5, maximum=50, step=1, help="bars of the average true range")
        stop_atr = parameter(2.0, minimum=0.5, maximum=5.0, step=0.5, help="distance of the stop, in ATR")
        profit_atr = parameter(4.0, minimum=0.5, maximum=10.0, step=0.5, help="distance of the take-profit, in ATR")
        risk = parameter(0.01, minimum=0.001, maximum=0.05, step=0.001, help="share of equity lost if the stop is hit")

    atr = indicator("atr", length=P.atr)
    ceiling = indicator("donchian_high", length=P.channel).lag(1)
    wake = wrap("close") > ceiling

    def decide(self, inputs: Inputs) -> Proposal | None:
        price = inputs.price
        if inputs.position or inputs.orders or not price > inputs.ceiling or not inputs.atr > 0.0:
            return None
        if inputs.state.get("ceiling") == inputs.ceiling:
            return None  # one attempt per level: a stop hit below it is not bought back at once
        distance = self.params.stop_atr * inputs.atr
        notional = min(self.params.risk * inputs.equity / distance * price, 0.95 * inputs.equity)
        symbol = inputs.symbol
        return Proposal(
            [
                market(symbol, "buy", notional=notional, leg="entry", reason="breakout"),
                stop(symbol, "sell", price - distance, parent="entry", reason="stop"),
                take_profit(
                    symbol, "sell", price + self.params.profit_atr * inputs.atr, parent="entry", reason="profit"
                ),
            ],
            state={"ceiling": inputs.ceiling},
        )
