"""Round trips from fills: matched, split and summed to the last unit."""

from __future__ import annotations

import pytest
from backtest_samples import HOUR_MS, START_MS, make_fills, make_funding
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_runtime.backtest.tables import FillTable, FundingTable, TradeTable, no_funding
from trading_runtime.backtest.trades import Method, build_trades
from trading_runtime.core.money import quote_value

UNIT = 100_000_000


def trades_of(
    fills: FillTable,
    funding: FundingTable | None = None,
    *,
    close: float = 100.0,
    last_bar: int = 99,
    method: Method = "average",
) -> TradeTable:
    return build_trades(
        fills,
        no_funding() if funding is None else funding,
        last_close=[close] * len(fills.symbols),
        last_time_ms=START_MS + (last_bar + 1) * HOUR_MS,
        last_bar=last_bar,
        method=method,
    )


def test_one_long_round_trip() -> None:
    """A buy and a sell of one quantity are one closed trade, with the fees and the reasons of both."""
    fills = make_fills([(3, 0, UNIT, 100.0), (8, 0, -UNIT, 110.0)], fees=[10, 11], slippage=[1, 2])
    trades = trades_of(fills)
    assert len(trades) == 1
    assert trades.direction.tolist() == [1]
    assert trades.entry_bar.tolist() == [3]
    assert trades.exit_bar.tolist() == [8]
    assert trades.bars_held.tolist() == [5]
    assert trades.entry_price.tolist() == [100.0]
    assert trades.exit_price.tolist() == [110.0]
    assert trades.pnl_units.tolist() == [10 * UNIT - 21]
    assert trades.realised_units.tolist() == [10 * UNIT]
    assert trades.fees_units.tolist() == [21]
    assert trades.slippage_units.tolist() == [3]
    assert trades.return_fraction.tolist() == [(10 * UNIT - 21) / (100 * UNIT)]
    assert trades.entry_reason == ["reason-0"]
    assert trades.exit_reason == ["reason-1"]
    assert not trades.is_open.any()


def test_one_short_round_trip() -> None:
    """A short earns when the price falls."""
    trades = trades_of(make_fills([(0, 0, -UNIT, 100.0), (1, 0, UNIT, 90.0)]))
    assert trades.direction.tolist() == [-1]
    assert trades.pnl_units.tolist() == [10 * UNIT]


def test_scaling_in_and_out_is_one_trade_under_average_cost() -> None:
    """All entries and exits from zero to zero are one trade: highest quantity held, average prices."""
    rows = [
        (0, 0, UNIT, 100.0),
        (1, 0, UNIT, 110.0),
        (2, 0, -UNIT, 120.0),
        (3, 0, UNIT, 90.0),
        (4, 0, -2 * UNIT, 100.0),
    ]
    trades = trades_of(make_fills(rows))
    assert len(trades) == 1
    assert trades.quantity_units.tolist() == [2 * UNIT]
    assert trades.entry_price.tolist() == [100.0]
    assert trades.exit_price[0] == pytest.approx(320 / 3)
    assert trades.pnl_units.tolist() == [20 * UNIT]


def test_realised_part_of_an_open_trade_uses_average_cost() -> None:
    """A partial exit realises against the average of what is held; the rest is marked at the last close."""
    rows = [(0, 0, UNIT, 100.0), (1, 0, UNIT, 110.0), (2, 0, -UNIT, 120.0)]
    trades = trades_of(make_fills(rows), close=130.0)
    assert trades.is_open.tolist() == [True]
    assert trades.realised_units.tolist() == [15 * UNIT]
    assert trades.pnl_units.tolist() == [40 * UNIT]
    assert trades.exit_reason == [""]
    assert trades.exit_bar.tolist() == [99]
    assert trades.bars_held.tolist() == [100]


def test_fifo_matches_each_exit_with_the_oldest_entries() -> None:
    """Under FIFO one exit of two lots is two trades, each with its own entry, and an open lot stays apart."""
    rows = [(0, 0, UNIT, 100.0), (1, 0, 2 * UNIT, 110.0), (2, 0, -2 * UNIT, 120.0)]
    trades = trades_of(make_fills(rows, fees=[5, 8, 7]), close=130.0, method="fifo")
    assert trades.entry_bar.tolist() == [0, 1, 1]
    assert trades.quantity_units.tolist() == [UNIT, UNIT, UNIT]
    assert trades.fees_units.tolist() == [5 + 3, 4 + 4, 4]
    assert trades.pnl_units.tolist() == [20 * UNIT - 8, 10 * UNIT - 8, 20 * UNIT - 4]
    assert trades.is_open.tolist() == [False, False, True]


def test_a_fill_across_zero_is_cut_in_two_without_loss() -> None:
    """A crossing fill closes one trade and opens the next; value, fee and slippage of the parts are the
    whole.
    """
    fills = make_fills(
        [(0, 0, UNIT, 100.0), (1, 0, -3 * UNIT, 100.0), (2, 0, 2 * UNIT, 100.0)],
        fees=[0, 100, 0],
        slippage=[0, 7, 0],
    )
    trades = trades_of(fills)
    assert trades.direction.tolist() == [1, -1]
    assert trades.fees_units.tolist() == [33, 67]
    assert trades.slippage_units.tolist() == [2, 5]
    assert trades.exit_bar.tolist() == [1, 2]
    assert trades.entry_bar.tolist() == [0, 1]


@pytest.mark.parametrize("method", ["average", "fifo"])
@pytest.mark.parametrize(
    ("paid_at", "owner"),
    [
        (START_MS + HOUR_MS + 1, 0),  # while the first is open
        (START_MS + 2 * HOUR_MS, 0),  # at the open at which the first is closed
        (START_MS + 2 * HOUR_MS + 1, 0),  # inside the bar in which it closed: nobody else can have paid
        (START_MS + 5 * HOUR_MS, 1),  # at the open at which the second begins
        (START_MS + 9 * HOUR_MS, 1),  # after everything is closed
        (START_MS - 1, 0),  # before everything
    ],
)
def test_funding_belongs_to_the_trade_that_was_open(paid_at: int, owner: int, method: Method) -> None:
    """Each payment belongs to exactly one trade: the position held when it was due, or the nearest sensible
    one.
    """
    rows = [(1, 0, UNIT, 100.0), (2, 0, -UNIT, 100.0), (5, 0, UNIT, 100.0), (6, 0, -UNIT, 100.0)]
    trades = trades_of(make_fills(rows), make_funding([(paid_at, 0, 42)]), method=method)
    expected = [0, 0]
    expected[owner] = 42
    assert trades.funding_units.tolist() == expected
    assert trades.pnl_units.tolist() == [-amount for amount in expected]


def test_trades_come_in_the_order_they_closed_and_open_ones_last() -> None:
    """Symbols are merged by exit; an open position follows all closed ones though it began first."""
    rows = [(0, 0, UNIT, 1.0), (1, 1, UNIT, 1.0), (2, 2, UNIT, 1.0), (3, 2, -UNIT, 1.0), (4, 1, -UNIT, 1.0)]
    trades = trades_of(make_fills(rows, symbols=("A/USDT", "B/USDT", "C/USDT")))
    assert trades.symbol_index.tolist() == [2, 1, 0]
    assert trades.is_open.tolist() == [False, False, True]


def test_no_fills_give_no_trades() -> None:
    """A run that never traded has an empty table, not an error."""
    assert len(trades_of(make_fills([]))) == 0


def test_contradicting_tables_are_refused() -> None:
    """Funding of a symbol never held, and a fill without quantity, cannot be attributed and say so."""
    with pytest.raises(ValueError, match="funding was paid on BTC/USDT"):
        trades_of(make_fills([]), make_funding([(START_MS, 0, 1)]))
    with pytest.raises(ValueError, match="fill 0 has quantity 0"):
        trades_of(make_fills([(0, 0, 0, 1.0)]))


sequences = st.lists(
    st.tuples(
        st.integers(0, 3),  # bars since the fill before
        st.integers(0, 2),  # symbol
        st.integers(-(10**10), 10**10).filter(bool),  # signed quantity
        st.floats(0.01, 1e5, allow_nan=False),  # price
        st.integers(-(10**6), 10**9),  # fee
        st.integers(0, 10**6),  # slippage
        st.booleans(),  # close what is held instead
    ),
    max_size=40,
)
payments = st.lists(
    st.tuples(st.integers(-2, 130), st.booleans(), st.integers(0, 2), st.integers(-(10**8), 10**8)),
    max_size=15,
)


@settings(max_examples=250, deadline=None)
@given(
    sequence=sequences,
    paid=payments,
    closes=st.tuples(*[st.floats(0.01, 1e5)] * 3),
    unit=st.sampled_from([1e-8, 1e-3, 1.0]),
    method=st.sampled_from(["average", "fifo"]),
)
def test_trades_add_up_to_the_change_of_equity(
    sequence: list[tuple[int, int, int, float, int, int, bool]],
    paid: list[tuple[int, bool, int, int]],
    closes: tuple[float, float, float],
    unit: float,
    method: Method,
) -> None:
    """Whatever the fills, PnL of all trades is final equity less start equity to the unit, and so are all
    parts.
    """
    scale = {1e-8: 1, 1e-3: 100_000, 1.0: 100_000_000}[unit]  # quantities worth about the same
    bar, rows, fees, slips, held = 0, [], [], [], [0, 0, 0]
    for step, symbol, quantity, price, fee, slip, close in sequence:
        bar += step
        units = -held[symbol] if close and held[symbol] else (quantity // scale or 1)
        held[symbol] += units
        rows.append((bar, symbol, units, price))
        fees.append(fee)
        slips.append(slip)
    fills = make_fills(rows, fees=fees, slippage=slips, symbols=("A/Q", "B/Q", "C/Q"), quantity_unit=unit)
    traded = set(fills.symbol_index.tolist())
    due = sorted(
        (START_MS + bar * HOUR_MS + (1 if inside else 0), symbol, amount)
        for bar, inside, symbol, amount in paid
        if symbol in traded
    )
    funding = make_funding(due)
    trades = build_trades(
        fills, funding, last_close=closes, last_time_ms=START_MS + 131 * HOUR_MS, last_bar=130, method=method
    )

    cash = -sum(fills.fee_units.tolist()) - sum(funding.amount_units.tolist())
    cash -= sum(side * value for side, value in zip(fills.side.tolist(), fills.value_units.tolist(), strict=True))
    held_value = sum(quote_value(close, position, float(scale)) for close, position in zip(closes, held, strict=True))
    assert sum(trades.pnl_units.tolist()) == cash + held_value
    assert sum(trades.fees_units.tolist()) == sum(fees)
    assert sum(trades.slippage_units.tolist()) == sum(slips)
    assert sum(trades.funding_units.tolist()) == sum(amount for _, _, amount in due)
    assert (trades.quantity_units > 0).all()
    assert (trades.bars_held >= 0).all()
    open_units = [0, 0, 0]
    for index, direction, units, still in zip(
        trades.symbol_index.tolist(),
        trades.direction.tolist(),
        trades.quantity_units.tolist(),
        trades.is_open,
        strict=True,
    ):
        if still and method == "fifo":
            open_units[index] += direction * units
    if method == "fifo":
        assert open_units == held
    closed = ~trades.is_open
    gross = trades.pnl_units + trades.fees_units + trades.funding_units
    assert (trades.realised_units[closed] == gross[closed]).all()
