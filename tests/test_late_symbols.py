"""Both paths on markets whose symbols begin at different times: nobody decides before its own windows are full."""

from __future__ import annotations

import pytest
from market_samples import BTC, ETH, HOUR_MS, START_MS, make_account, make_market, random_bars

from trading_runtime.backtest.compiled import run_compiled
from trading_runtime.backtest.engine import run_general
from trading_runtime.backtest.result import journal_lines
from trading_runtime.core.columns import NO_OPINION, indicator, where, wrap
from trading_runtime.core.strategy import Strategy

FAST, SLOW = indicator("sma", length=3), indicator("sma", length=9)
TARGETS = [
    where(FAST > SLOW, 0.4, 0.2),
    where(~(FAST > SLOW), 0.4, 0.2),
    where(wrap("close") > FAST, 0.4, where(FAST > SLOW, 0.1, NO_OPINION)),
    where((FAST > SLOW).lag(3), 0.4, 0.1),
    where(FAST != SLOW, 0.4, 0.1),
    where(wrap("close") > indicator("sma", length=4, symbol=ETH), 0.1, 0.3),
    where(~(wrap("close") > indicator("sma", length=4, symbol=ETH)), 0.1, 0.3),
    where(~(wrap("close") > indicator("sma", length=4, symbol=BTC)), 0.1, 0.3),
    where(~(wrap("close") > indicator("sma", length=2, timeframe="4h")), 0.1, 0.3),
]


@pytest.mark.parametrize("number", range(len(TARGETS)))
@pytest.mark.parametrize("first_late", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_late(number, first_late, seed):
    kind = type("Rule", (Strategy,), {"targets": TARGETS[number]})
    late = [17 * first_late, 17 * (1 - first_late)]
    m = make_market(
        *(
            random_bars(seed + 9 * i, 60 - late[i], symbol=s, start_ms=START_MS + late[i] * HOUR_MS)
            for i, s in enumerate((BTC, ETH))
        )
    )
    a, b = run_general(m, kind(), make_account(1000.0)), run_compiled(m, kind(), make_account(1000.0))
    assert list(journal_lines(m, a)) == list(journal_lines(m, b))
    assert a.entries
