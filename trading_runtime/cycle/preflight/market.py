"""What everybody may ask an exchange: whether it answers, its markets, its bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trading_runtime.config.cycle_build import bar_age_ms_max, build_instruments, filled_in
from trading_runtime.config.cycle_schema import SIMULATED
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.bars import gather_all, is_longer_name, is_warm, lacking, needs_of, plain
from trading_runtime.cycle.build import open_feed, open_live_exchange
from trading_runtime.cycle.opening import CLOCK_DIFFERENCE_MS_MAX
from trading_runtime.cycle.preflight.check import Failed, Warned
from trading_runtime.cycle.preflight.ground import Ground, needed
from trading_runtime.cycle.suspended import intervals_still, suspensions
from trading_runtime.cycle.universe import ask_instruments


def check_exchange(ground: Ground) -> str:
    if ground.is_live:
        # Without credentials: what everybody may ask is told apart from what they are for.
        ground.feed = open_live_exchange(ground.loaded, {}, ground.clock, ground.base_url)
    else:
        ground.feed = open_feed(ground.loaded, ground.environment, ground.clock, ground.base_url)
    ground.opened.append(ground.feed)
    if ground.settings.feed.files:
        ground.is_feed_there = True
        return f"{ground.feed.name}: history is played back, no exchange is asked"
    there_ms, here_ms = ground.feed.server_time_ms(), ground.clock.now_ms()
    ground.is_feed_there = True
    apart_ms = there_ms - here_ms
    if abs(apart_ms) > CLOCK_DIFFERENCE_MS_MAX:
        raise Failed(
            f"the exchange's clock says {iso_time(there_ms)}, this computer's {iso_time(here_ms)}: set the wrong "
            f"one (at most {CLOCK_DIFFERENCE_MS_MAX // 1000} s apart)"
        )
    return f"{ground.feed.name} answers, its clock is {apart_ms / 1000:+.1f} s from this computer's"


def check_markets(ground: Ground) -> str:
    settings, feed = ground.settings, ground.reached()
    ask: Any = getattr(feed, "instruments", None)
    missing: Mapping[str, str] = {}
    if ground.is_live:
        exchange: Any = feed
        universe = ground.universe()
        found, missing = ask_instruments(exchange, universe)
        if ground.account is not None:
            ground.suspended = suspensions(ground.account, universe, missing)
    elif ask is None or settings.market.exchange == SIMULATED:
        found = dict(build_instruments(settings))
    else:
        asked = ask(settings.market.symbols)
        found = {symbol: filled_in(settings, one, ground.clock.now_ms()) for symbol, one in asked.items()}
    ground.instruments = found
    text = "; ".join(_filters_text(one) for one in found.values())
    if missing:
        frozen = f"; held, and frozen for so long: {', '.join(ground.suspended)}" if ground.suspended else ""
        raise Warned(f"{text}; not traded here any more: {', '.join(missing)}{frozen}")
    return text


def check_bars(ground: Ground) -> str:
    settings, feed = ground.settings, ground.reached()
    strategy = needed(ground.strategy, "the strategy")
    timeframe = settings.market.timeframe
    is_history = bool(settings.feed.files)
    after = ground.account.state.slot if is_history and ground.account is not None else None
    newest = feed.newest_close(timeframe, after)
    if newest is None:
        raise Warned("history is played to its end" if is_history else "there is no closed bar")
    needs = needs_of(strategy, ground.bar_ms)
    universe = ground.universe()
    symbols = [symbol for symbol in universe.symbols if symbol not in ground.suspended]
    known = ground.account
    still = {} if known is None else intervals_still(known, ground.suspended, newest - ground.bar_ms)
    bars = gather_all(feed, ground.clock, symbols, timeframe, needs, [newest], universe.optional, still)
    wanted = {name: needs.longer[one.timeframe] if is_longer_name(name) else needs.own for name, one in bars.items()}
    short = sorted(name for name, one in bars.items() if len(one) < wanted[name])
    if not is_warm(bars, sorted(plain(bars)), needs):
        raise Warned(f"{lacking(bars, needs)}: it decides nothing until then")
    younger = f"; {', '.join(short)} has fewer" if short else ""
    absent = sorted(set(symbols) - set(plain(bars)))
    without = f"; {', '.join(absent)} has none" if absent else ""
    age_ms, age_ms_max = feed.server_time_ms() - newest, bar_age_ms_max(settings)
    is_old = age_ms > age_ms_max and not is_history
    old = f"; too old for new risk now ({age_ms // 1000} s, at most {age_ms_max // 1000})" if is_old else ""
    counts = " and ".join(
        [f"{needs.own} bars", *(f"{count} bars of {longer}" for longer, count in needs.longer.items())]
    )
    return f"{counts} up to {iso_time(newest)} are there{younger}{without}{old}"


def _filters_text(one: Instrument) -> str:
    rules = one.rules[-1]
    tick = rules.tick_numerator / rules.tick_denominator
    minimum = f", at least {one.money_text(rules.notional_minimum)} {one.quote}" if rules.notional_minimum else ""
    return f"{one.symbol}: tick {tick:.10g}, lot {one.quantity_text(rules.lot)}{minimum}"
