"""Both paths on markets whose symbols begin at different times: nobody decides before its own windows are full."""

from __future__ import annotations

import pytest
from market_samples import BTC, ETH, HOUR_MS, START_MS, make_account, make_market, random_bars

from trading_runtime.backtest.compiled import run_compiled
from trading_runtime.backtest.engine import run_general
from trading_runtime.backtest.result import journal_lines
from trading_runtime.core.columns import NO_OPINION, Expression, indicator, where, wrap
from trading_runtime.core.strategy import Strategy

LATE_BARS = 17
FAST, SLOW = indicator("sma", length=3), indicator("sma", length=9)
TARGETS = {
    "a comparison": where(FAST > SLOW, 0.4, 0.2),
    "a negation": where(~(FAST > SLOW), 0.4, 0.2),
    "no opinion": where(wrap("close") > FAST, 0.4, where(FAST > SLOW, 0.1, NO_OPINION)),
    "a lagged condition": where((FAST > SLOW).lag(3), 0.4, 0.1),
    "an inequality": where(FAST != SLOW, 0.4, 0.1),
    "another symbol": where(wrap("close") > indicator("sma", length=4, symbol=ETH), 0.1, 0.3),
    "another symbol, negated": where(~(wrap("close") > indicator("sma", length=4, symbol=ETH)), 0.1, 0.3),
    "the first symbol, negated": where(~(wrap("close") > indicator("sma", length=4, symbol=BTC)), 0.1, 0.3),
    "a longer timeframe, negated": where(~(wrap("close") > indicator("sma", length=2, timeframe="4h")), 0.1, 0.3),
}


@pytest.mark.parametrize("targets", TARGETS.values(), ids=list(TARGETS))
@pytest.mark.parametrize("late", [BTC, ETH])
@pytest.mark.parametrize("seed", range(4))
def test_both_paths_wait_for_a_late_symbol(targets: Expression, late: str, seed: int) -> None:
    """The kernel's journal is the general path's, byte for byte, whichever symbol begins later."""
    rule = type("Rule", (Strategy,), {"targets": targets})
    starts = {symbol: LATE_BARS if symbol == late else 0 for symbol in (BTC, ETH)}
    market = make_market(
        *(
            random_bars(seed + 9 * number, 60 - bars, symbol=symbol, start_ms=START_MS + bars * HOUR_MS)
            for number, (symbol, bars) in enumerate(starts.items())
        )
    )
    general = run_general(market, rule(), make_account(1000.0))
    compiled = run_compiled(market, rule(), make_account(1000.0))

    assert list(journal_lines(market, general)) == list(journal_lines(market, compiled))
    assert general.entries
