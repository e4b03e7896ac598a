"""What every sweep that is measured must do: which combinations, what one came to, and the proof that all did the same.

Nothing here runs or times a sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks import reference
from benchmarks.subjects import FASTS, SLOWS

# Both paths of the runtime round amounts to 1e-8, the reference does not round.
OWN_TOLERANCE = 1e-4
# A peer sizes an order at the price it fills at, the reference at the close it is decided at: 0.1 to 0.2 % of equity
# after 1,000 fills, 0.4 % after 3,000. A rule that trades otherwise is off by far more, and has other fills.
PEER_TOLERANCE = 0.01


class Figures(NamedTuple):
    """What one combination came to; ``fills`` is None where a peer's sweep does not tell them."""

    fast: int
    slow: int
    equity: float
    fills: int | None


@dataclass(frozen=True)
class Grid:
    """All combinations of two lists, without those of equal lengths: their averages never cross."""

    name: str
    fasts: Sequence[int]
    slows: Sequence[int]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The combinations, the slow length fastest."""
        return [(fast, slow) for fast in self.fasts for slow in self.slows if fast != slow]

    def settings(self) -> dict[str, Any]:
        """Return what a sweep's configuration says of it."""
        return {"space": {"fast": list(self.fasts), "slow": list(self.slows)}, "where": ["fast != slow"]}


CHECK = Grid("check", [20], [50])
HUNDRED = Grid("hundred", FASTS, SLOWS)
THOUSAND = Grid("thousand", range(2, 102, 2), range(110, 310, 10))
TEN_THOUSAND = Grid("ten-thousand", range(2, 102, 2), range(101, 301))


def few_enough(grid: Grid, bars: int, bars_max: int) -> Grid | None:
    """Return the part of a grid, by its first slow lengths, that reads fewer than ``bars_max`` bars in all; None when
    one slow length reads more.
    """
    parts = [Grid(f"{grid.name}-part", grid.fasts, grid.slows[:count]) for count in range(1, len(grid.slows) + 1)]
    return max(
        (part for part in parts if len(part.pairs) * bars < bars_max), key=lambda part: len(part.pairs), default=None
    )


def expected(grid: Grid, opening: Sequence[float], close: Sequence[float]) -> list[Figures]:
    """Return what the reference makes of a grid."""
    return [Figures(fast, slow, *reference.run(opening, close, fast, slow)) for fast, slow in grid.pairs]


def refuse_other_work(
    name: str, found: Sequence[Figures], wanted: Sequence[Figures], tolerance: float, fills_tolerance: int = 0
) -> None:
    """End with one line unless both are the same combinations with the same fills (or ``fills_tolerance`` more or
    fewer), where they are told, and equities whose sum differs by no more than a share of ``tolerance``.
    """
    by_pair = {(one.fast, one.slow): one for one in found}
    if len(by_pair) != len(found) or by_pair.keys() != {(one.fast, one.slow) for one in wanted}:
        raise SystemExit(f"{name} did other work: {len(found)} results for {len(wanted)} combinations, or others")
    for want in wanted:
        fills = by_pair[want.fast, want.slow].fills
        if fills is not None and want.fills is not None and abs(fills - want.fills) > fills_tolerance:
            raise SystemExit(
                f"{name} did other work: {fills} fills of ({want.fast}, {want.slow}), not {want.fills}; "
                "no figure is printed"
            )
    equity, wanted_equity = sum(one.equity for one in found), sum(one.equity for one in wanted)
    if not abs(equity / wanted_equity - 1.0) <= tolerance:
        raise SystemExit(
            f"{name} did other work: final equities of {len(wanted)} combination(s) add up to {equity:,.2f}, not "
            f"{wanted_equity:,.2f} within {tolerance:.2%}; no figure is printed"
        )
