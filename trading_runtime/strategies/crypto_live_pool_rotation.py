"""Live-pool rotation: the strongest few symbols of a published pool, beside a BTC core bought when it is cheap.

    BTC core (14 % to 65 % of equity, more the larger it is)   bought daily below ahr999 1.2, trimmed above a z-score
    trend sleeve (the rest)                                    the best two of the pool while BTC rises, sold by rule

The first symbol of a run is the core. The trend symbols come from the artifact's pool; other symbols of the run are
traded only while they are held and have left the pool. Declared here: parameters, whose defaults are the documented
constants, and columns, all of closed daily bars. The rules are in ``live_pool``; docs/live-pool-strategy.md says all of
them with numbers.
"""

from __future__ import annotations

from trading_runtime.core.columns import OnTimeframe, P, custom, indicator, maximum
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.instruments import split_symbol
from trading_runtime.core.parameters import Parameters, parameter
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.strategies.live_pool.columns import geometric_mean, sample_deviation, sample_z_score
from trading_runtime.strategies.live_pool.decision import proposal_for
from trading_runtime.strategies.live_pool.situation import CORE_BASE
from trading_runtime.strategies.live_pool.trend import INVERSE_VOLATILITY, WEIGHTINGS

_DAY = "1d"
_z_score = custom(sample_z_score, "close", window=200, length=200)


class CryptoLivePoolRotation(Strategy):
    """Rotates a trend sleeve through a published pool, accumulates BTC by valuation, and stops the sleeve for the day
    after a loss of 5 %.
    """

    needs_artifact = True

    class Params(Parameters):
        btc_ratio_base = parameter(
            0.14, minimum=0.0, maximum=1.0, step=0.01, help="share of equity meant for BTC, at least"
        )
        btc_ratio_slope = parameter(
            0.16, minimum=0.0, maximum=1.0, step=0.01, help="growth of that share with ln(1 + equity / scale)"
        )
        btc_ratio_scale = parameter(
            10_000.0,
            minimum=1_000.0,
            maximum=1_000_000.0,
            step=1_000.0,
            help="equity, in quote money, that the share grows by",
        )
        btc_ratio_maximum = parameter(
            0.65, minimum=0.0, maximum=1.0, step=0.05, help="share of equity meant for BTC, at most"
        )
        base_order_minimum = parameter(
            15.0,
            minimum=5.0,
            maximum=1_000.0,
            step=5.0,
            help="smallest BTC order before the multiplier, in quote money",
        )
        base_order_fraction = parameter(
            0.0012, minimum=0.0, maximum=0.05, step=0.0002, help="BTC order before the multiplier, share of equity"
        )
        buy_budget_fraction = parameter(
            0.985,
            minimum=0.5,
            maximum=1.0,
            step=0.005,
            help="share of a budget that is spent; the rest pays fees and slippage",
        )
        buy_budget_minimum = parameter(
            15.0, minimum=0.0, maximum=1_000.0, step=5.0, help="a buy needs a budget above this, in quote money"
        )
        top_n = parameter(2, minimum=1, maximum=10, step=1, help="trend symbols held at most")
        weighting = parameter(INVERSE_VOLATILITY, choices=WEIGHTINGS, help="how the trend cash is shared among them")
        atr_multiple = parameter(
            2.5,
            minimum=0.5,
            maximum=10.0,
            step=0.5,
            help="distance of the trailing stop from the highest price, in ATR",
        )
        breaker_loss_fraction = parameter(
            0.05, minimum=0.01, maximum=0.5, step=0.01, help="loss of the trend sleeve in a UTC day that stops it"
        )
        breaker_sell_minimum = parameter(
            10.0, minimum=0.0, maximum=1_000.0, step=5.0, help="the breaker sells what is worth more, in quote money"
        )
        dca_pool_minimum = parameter(
            10.0,
            minimum=0.0,
            maximum=1_000.0,
            step=5.0,
            help="BTC rules rest while neither cash nor BTC is worth more, in quote money",
        )
        dca_deep_ahr999 = parameter(
            0.45, minimum=0.1, maximum=2.0, step=0.05, help="deep value below this price / geometric mean"
        )
        dca_deep_multiplier = parameter(
            5.0, minimum=0.0, maximum=20.0, step=0.5, help="base orders bought at deep value"
        )
        dca_low_ahr999 = parameter(
            0.8, minimum=0.1, maximum=2.0, step=0.05, help="low value below this price / geometric mean"
        )
        dca_low_multiplier = parameter(2.0, minimum=0.0, maximum=20.0, step=0.5, help="base orders bought at low value")
        dca_fair_ahr999 = parameter(
            1.2, minimum=0.1, maximum=3.0, step=0.05, help="fair value below this price / geometric mean"
        )
        dca_fair_multiplier = parameter(
            1.0, minimum=0.0, maximum=20.0, step=0.5, help="base orders bought at fair value"
        )
        sell_trigger_floor = parameter(
            2.5,
            minimum=0.0,
            maximum=10.0,
            step=0.5,
            help="BTC is trimmed above this z-score, or above its quantile if that is higher",
        )
        sell_trigger_quantile = parameter(
            0.95, minimum=0.5, maximum=1.0, step=0.01, help="quantile of a year of z-scores"
        )
        trim_position_minimum = parameter(
            20.0, minimum=0.0, maximum=1_000.0, step=5.0, help="BTC is trimmed when worth more, in quote money"
        )
        trim_fraction = parameter(0.1, minimum=0.05, maximum=1.0, step=0.05, help="share of the BTC sold by a trim")
        trim_high_zscore = parameter(
            4.0, minimum=0.0, maximum=10.0, step=0.5, help="z-score above which a trim is larger"
        )
        trim_high_fraction = parameter(0.3, minimum=0.05, maximum=1.0, step=0.05, help="share of the BTC sold then")
        trim_extreme_zscore = parameter(
            5.0, minimum=0.0, maximum=10.0, step=0.5, help="z-score above which a trim is largest"
        )
        trim_extreme_fraction = parameter(0.5, minimum=0.05, maximum=1.0, step=0.05, help="share of the BTC sold then")
        fuel_symbol = parameter("BNB/USDT", help="symbol of the coin that pays fees: held, never traded here")

        def check(self) -> None:
            try:
                split_symbol(self.fuel_symbol)
            except ConfigurationError as error:
                raise ConfigurationError(f"fuel_symbol: {error}") from None
            if not self.dca_deep_ahr999 <= self.dca_low_ahr999 <= self.dca_fair_ahr999:
                raise ConfigurationError("dca_deep_ahr999, dca_low_ahr999 and dca_fair_ahr999 must rise")
            if self.trim_high_zscore > self.trim_extreme_zscore:
                raise ConfigurationError("trim_high_zscore must not exceed trim_extreme_zscore")

    # Each symbol's own, of closed daily bars.
    sma20 = indicator("sma", "close", length=20, timeframe=_DAY, universe=True)
    sma60 = indicator("sma", "close", length=60, timeframe=_DAY, universe=True)
    sma200 = indicator("sma", "close", length=200, timeframe=_DAY, universe=True)
    roc20 = indicator("rate_of_change", "close", length=20, timeframe=_DAY, universe=True)
    roc60 = indicator("rate_of_change", "close", length=60, timeframe=_DAY, universe=True)
    roc120 = indicator("rate_of_change", "close", length=120, timeframe=_DAY, universe=True)
    vol20 = custom(
        sample_deviation,
        indicator("rate_of_change", "close", length=1),
        window=20,
        timeframe=_DAY,
        universe=True,
        length=20,
    )
    atr14 = indicator("sma", indicator("true_range"), length=14, timeframe=_DAY, universe=True)

    # The core's.
    btc_ma200 = indicator("sma", "close", length=200, timeframe=_DAY)
    btc_ma200_slope = indicator("rate_of_change", indicator("sma", "close", length=200), length=20, timeframe=_DAY)
    btc_zscore = OnTimeframe(_z_score, _DAY)
    btc_sell_trigger = maximum(
        P.sell_trigger_floor,
        indicator("rolling_quantile", _z_score, length=365, quantile=P.sell_trigger_quantile, timeframe=_DAY),
    )
    btc_geom200 = custom(geometric_mean, "close", window=200, timeframe=_DAY, length=200)
    btc_roc20 = indicator("rate_of_change", "close", length=20, timeframe=_DAY)
    btc_roc60 = indicator("rate_of_change", "close", length=60, timeframe=_DAY)
    btc_roc120 = indicator("rate_of_change", "close", length=120, timeframe=_DAY)

    def sleeve_of(self, symbol: str) -> str:
        """Return btc_core, fuel or trend_rotation."""
        if symbol == self.params.fuel_symbol:
            return "fuel"
        return "btc_core" if symbol.partition("/")[0] == CORE_BASE else "trend_rotation"

    def decide(self, inputs: Inputs) -> Proposal:
        return proposal_for(inputs, self.params)
