"""What the live pool needs to be played slot by slot: a small pool, columns that say who is strong, and a treasury.

Columns are given, not computed: no slot needs 700 days of candles. What follows from them is in ``crash_scenarios.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from cycle_world import HOUR_MS, PRICES, START_MS, World
from live_pool_samples import CALM, RELATIVE, STRONG, WEAK

from trading_runtime.core.treasury import treasury_terms
from trading_runtime.stores.control import Control

CORE, ETH, SOL, XRP, LTC, FUEL = "BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "LTC/USDT", "BNB/USDT"
POOL = ("ETHUSDT", "SOLUSDT", "XRPUSDT")
NEXT_POOL = ("SOLUSDT", "XRPUSDT", "LTCUSDT")
# What BTC's columns say of prices, as CALM has them, are prices of this one.
_CALM_PRICE = 60_000.0
_CALM_PRICES = ("btc_ma200", "btc_geom200")
CHEAP, FAIR = 0.7, 1.5


def columns_at(
    strong: Mapping[int, tuple[str, ...]], ahr999: float, world: World, slot: int
) -> dict[str, float | dict[str, float]]:
    """Return the columns of a slot: from each hour of ``strong`` on those symbols qualify and no others, and BTC costs
    about ``ahr999`` times its geometric mean.
    """
    hour = (slot - START_MS) // HOUR_MS
    now = strong[max(one for one in strong if one <= hour)]
    found: dict[str, float | dict[str, float]] = {}
    for name, value in CALM.items():
        found[name] = value * PRICES[0] / _CALM_PRICE if name in _CALM_PRICES else value
    found["btc_geom200"] = PRICES[0] / ahr999
    for name in STRONG:
        found[name] = {
            symbol: (STRONG if symbol in now else WEAK)[name] * (PRICES[number] if name in RELATIVE else 1.0)
            for number, symbol in enumerate(world.symbols)
        }
    return found


def live_pool(
    strong: Mapping[int, tuple[str, ...]],
    *others: str,
    ahr999: float = CHEAP,
    fuel: bool = False,
    savings: str = "0",
    cash: str = "2000",
    **options: Any,
) -> dict[str, Any]:
    """Options of a world whose account, with all its funds, is the live pool's."""
    terms = treasury_terms(earn_buffer=True, fuel_symbol=FUEL if fuel else None)
    return {
        "others": (*others, *((FUEL,) if fuel else ())),
        "configured": (CORE,),
        "cash": cash,
        "savings": savings,
        "pool": POOL,
        "columns": partial(columns_at, strong, ahr999),
        "job_options": {"treasury": terms, "has_all_funds": True, **({"adopt": (FUEL,)} if fuel else {})},
        **options,
    }


def publish_next(world: World) -> None:
    """Another pool is published; some money comes in, of which the BTC core's part stays unspent on that day."""
    world.publish(NEXT_POOL, version="next")
    world.venue.savings.deposit("USDT", "150")


def a_held_market_stops(world: World) -> None:
    """The market of a holding that left the pool is in a break."""
    publish_next(world)
    world.venue.stopped.add(ETH)


def everything_is_to_be_closed(world: World) -> None:
    """A person wants out, of what is held in a market that is in a break as well."""
    Control(world.documents, "main").halt("somebody", "the end", world.clock.now_ms(), flatten=True)


def flows_come_and_go(world: World) -> None:
    """Somebody pays in and takes out; the hour's interest has just been told."""
    world.venue.savings.deposit("USDT", "200")
    world.venue.savings.withdraw("USDT", "9", fee="1")


def a_little_comes(world: World) -> None:
    """Less than the buffer: moved twice, it would be there twice."""
    world.venue.savings.deposit("USDT", "20")
