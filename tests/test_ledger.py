"""The ledger: average cost and FIFO on any sequence of fills, exact in integers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as generate

from trading_runtime.core.ledger import FifoLots, Position, divide_half_even

FillRow = tuple[int, int, int, int]  # side, quantity, value, fee

FILLS = generate.lists(
    generate.tuples(
        generate.sampled_from([1, -1]),
        generate.integers(1, 10**6) | generate.integers(1, 3),
        generate.integers(0, 10**12) | generate.integers(0, 3),
        generate.integers(-10, 10**6),
    ),
    max_size=30,
)


def position_of(fills: Sequence[FillRow]) -> Position:
    position = Position("A")
    for side, quantity, value, fee in fills:
        position = position.filled(side, quantity, value, fee)
    return position


def lots_of(fills: Sequence[FillRow]) -> FifoLots:
    lots = FifoLots()
    for side, quantity, value, _ in fills:
        lots.filled(side, quantity, value)
    return lots


@given(generate.integers(-(10**30), 10**30), generate.integers(1, 10**20))
def test_division_rounds_exactly_half_to_even(numerator: int, denominator: int) -> None:
    """Division agrees with exact fractions, of either sign and any size."""
    assert round(Fraction(numerator, denominator)) == divide_half_even(numerator, denominator)


@pytest.mark.parametrize(("numerator", "expected"), [(1, 0), (3, 2), (-1, 0), (-3, -2), (5, 2), (7, 4)])
def test_division_of_halves(numerator: int, expected: int) -> None:
    """A half goes to the even neighbour on both sides of zero."""
    assert expected == divide_half_even(numerator, 2)


CASES: list[tuple[str, list[FillRow], tuple[int, int, int, int]]] = [
    # name, fills, (quantity, cost, realised, fees)
    ("buy", [(1, 10, 1000, 2)], (10, 1000, 0, 2)),
    ("add", [(1, 10, 1000, 0), (1, 10, 1200, 0)], (20, 2200, 0, 0)),
    ("part closed at a profit", [(1, 10, 1000, 0), (-1, 4, 480, 0)], (6, 600, 80, 0)),
    ("all closed at a loss", [(1, 10, 1000, 1), (-1, 10, 900, 1)], (0, 0, -100, 2)),
    ("short, closed at a profit", [(-1, 10, 1000, 0), (1, 10, 900, 0)], (0, 0, 100, 0)),
    ("short, part closed at a loss", [(-1, 10, 1000, 0), (1, 5, 600, 0)], (-5, -500, -100, 0)),
    ("turned from long to short", [(1, 10, 1000, 0), (-1, 15, 1650, 0)], (-5, -550, 100, 0)),
    ("turned from short to long", [(-1, 10, 1000, 0), (1, 15, 1350, 0)], (5, 450, 100, 0)),
    ("average cost, not the first lot's", [(1, 1, 100, 0), (1, 1, 200, 0), (-1, 1, 180, 0)], (1, 150, 30, 0)),
    ("a rebate", [(1, 10, 1000, -3)], (10, 1000, 0, -3)),
]


@pytest.mark.parametrize(("fills", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_average_cost(fills: list[FillRow], expected: tuple[int, int, int, int]) -> None:
    """Positions worked out by hand."""
    position = position_of(fills)

    assert expected == (position.quantity, position.cost, position.realised, position.fees)


@given(FILLS)
def test_cash_realised_and_cost_add_up_exactly(fills: list[FillRow]) -> None:
    """What was paid and received equals realised profit less the cost of what is held, to the last unit."""
    position = position_of(fills)

    assert -sum(side * value for side, _, value, _ in fills) == position.realised - position.cost
    assert sum(fee for *_, fee in fills) == position.fees
    assert sum(side * quantity for side, quantity, *_ in fills) == position.quantity


@given(FILLS)
def test_nothing_held_costs_nothing_and_cost_has_the_positions_sign(fills: list[FillRow]) -> None:
    """No rounding rest stays behind on a flat position, and a long never costs less than nothing."""
    for count in range(len(fills) + 1):
        position = position_of(fills[:count])

        assert position.quantity != 0 or position.cost == 0
        assert position.cost * position.quantity >= 0


@given(FILLS)
def test_a_fill_leaves_the_old_position_as_it_was(fills: list[FillRow]) -> None:
    """Positions are values: a fill makes a new one."""
    position = position_of(fills[:-1])
    before = position.to_json()
    for side, quantity, value, fee in fills[-1:]:
        position.filled(side, quantity, value, fee).funded(5)

    assert before == position.to_json()


@given(FILLS, generate.integers(-(10**9), 10**9))
def test_funding_only_adds_to_funding(fills: list[FillRow], amount: int) -> None:
    """Funding changes neither quantity nor cost nor realised profit, whichever way it is paid."""
    position = position_of(fills)

    assert {**position.to_json(), "funding": amount} == position.funded(amount).to_json()


@given(FILLS)
def test_fifo_and_average_cost_differ_only_in_time(fills: list[FillRow]) -> None:
    """Both methods hold the same quantity, and realised less cost is the same number for both."""
    position, lots = position_of(fills), lots_of(fills)

    assert position.quantity == lots.quantity()
    assert position.realised - position.cost == lots.realised - lots.cost()
    if position.quantity == 0:
        assert position.realised == lots.realised


def test_fifo_closes_the_oldest_lot_first() -> None:
    """Two lots at 100 and 200: a sale at 180 realises 80 from the first, and the next one a loss of 20."""
    lots = FifoLots()
    lots.filled(1, 1, 100)
    lots.filled(1, 1, 200)

    assert lots.filled(-1, 1, 180) == 80
    assert lots.filled(-1, 1, 180) == -20


def test_fifo_splits_a_fill_over_lots_and_across_zero() -> None:
    """A sale of five closes lots of two and one and opens a short of two with the rest of its value."""
    lots = FifoLots()
    lots.filled(1, 2, 200)
    lots.filled(1, 1, 120)

    assert lots.filled(-1, 5, 750) == 2 * 150 - 200 + 150 - 120
    assert (lots.quantity(), lots.cost()) == (-2, -300)


@given(FILLS)
def test_fifo_returns_what_it_adds_to_its_sum(fills: list[FillRow]) -> None:
    """The profits returned fill by fill add up to the total."""
    lots = FifoLots()
    returned = [lots.filled(side, quantity, value) for side, quantity, value, _ in fills]

    assert sum(returned) == lots.realised
