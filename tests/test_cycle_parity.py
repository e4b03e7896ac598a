"""Hour by hour through the store, everything serialised in between, is the one-process backtest, byte for byte."""

from __future__ import annotations

import pytest
from parity import backtest_of, bundled_bars, cycles_of, real_bars

from trading_runtime.core.hashing import canonical_json
from trading_runtime.strategies.registry import find_strategy

CASES = [
    ("buy_and_hold", {}, 1),
    ("sma_cross", {"fast": 10, "slow": 30}, 1),
    ("breakout", {}, 1),
    ("momentum_rotation", {}, 4),
]


@pytest.mark.parametrize(("name", "parameters", "symbols"), CASES, ids=[case[0] for case in CASES])
def test_cycles_give_the_intents_fills_and_ledger_of_the_backtest(
    name: str, parameters: dict[str, object], symbols: int
) -> None:
    bars = real_bars(symbols) or bundled_bars(symbols)
    kind = find_strategy(name)
    expected = backtest_of(kind(parameters), bars)
    found = cycles_of(lambda: kind(parameters), bars, slots=2_000)
    assert expected.decisions, "a test without decisions proves nothing"
    assert expected.fills
    for what in ("decisions", "fills", "ledger"):
        theirs, ours = getattr(expected, what), getattr(found, what)
        for place, (there, here) in enumerate(zip(theirs, ours, strict=False)):
            assert canonical_json(here) == canonical_json(there), f"{what} {place}"
        assert len(ours) == len(theirs), what
