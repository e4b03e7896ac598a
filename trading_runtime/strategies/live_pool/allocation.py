"""How equity is shared between the BTC core and the trend sleeve, and how much cash each may spend.

    ratio      = min(cap, max(0, base + slope * ln(1 + max(equity, 1) / scale)))
    trend cash = max(0, min(cash, equity * (1 - ratio) - trend value))
    BTC cash   = max(0, min(cash - trend cash, equity * ratio - BTC value))

All amounts are quote money. Which symbol is bought with it is not decided here.
"""

from __future__ import annotations

from typing import NamedTuple

from trading_runtime.strategies.live_pool.logarithms import logarithm


class AllocationRules(NamedTuple):
    """The constants of the allocation: the BTC share of equity by its size, and the size of one accumulation order."""

    ratio_base: float = 0.14
    ratio_slope: float = 0.16
    ratio_scale: float = 10_000.0
    ratio_maximum: float = 0.65
    order_minimum: float = 15.0
    order_fraction: float = 0.0012


DOCUMENTED = AllocationRules()


class Allocation(NamedTuple):
    """What the account is worth, where it is, and what each sleeve may still spend."""

    equity: float
    btc_ratio: float
    trend_value: float
    btc_value: float
    trend_cash: float
    btc_cash: float
    base_order: float


def btc_ratio(equity: float, rules: AllocationRules = DOCUMENTED) -> float:
    """Return the share of equity meant for BTC: it grows with the logarithm of equity up to the cap."""
    grown = rules.ratio_base + rules.ratio_slope * logarithm(1.0 + max(equity, 1.0) / rules.ratio_scale)
    return min(rules.ratio_maximum, max(0.0, grown))


def base_order(equity: float, rules: AllocationRules = DOCUMENTED) -> float:
    """Return the size of one accumulation order before the multiplier."""
    return max(rules.order_minimum, rules.order_fraction * equity)


def allocate(
    equity: float, cash: float, trend_value: float, btc_value: float, rules: AllocationRules = DOCUMENTED
) -> Allocation:
    """Return the budgets. Together they never exceed ``cash``."""
    blank = Allocation(equity, btc_ratio(equity, rules), 0.0, btc_value, 0.0, 0.0, base_order(equity, rules))
    return reallocated(blank, cash, trend_value)


def reallocated(allocation: Allocation, cash: float, trend_value: float) -> Allocation:
    """Return the budgets at another cash and value of the trend sleeve; equity and its shares stay."""
    equity, ratio = allocation.equity, allocation.btc_ratio
    trend_cash = max(0.0, min(cash, equity * (1.0 - ratio) - trend_value))
    btc_cash = max(0.0, min(cash - trend_cash, equity * ratio - allocation.btc_value))
    return allocation._replace(trend_value=trend_value, trend_cash=trend_cash, btc_cash=btc_cash)
