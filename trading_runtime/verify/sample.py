"""Which bars are checked, and in which order: seeded, and the same on every version of Python.

Only ``Random.random`` has a stream that never changes between versions, so nothing else is drawn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random


def chosen_bars(called: Sequence[int], acting: Sequence[int], sample: int, random: Random) -> list[int]:
    """Return the bars to check, ascending: those that act, or ``sample`` of them, and a tenth of others."""
    if sample >= len(called):
        return list(called)
    picked = list(acting) if len(acting) <= sample else some_of(acting, sample, random)
    acts = set(acting)
    others = [bar for bar in called if bar not in acts]
    count = max(sample - len(picked), sample // 10, 1)
    return sorted([*picked, *some_of(others, count, random)])


def some_of(bars: Sequence[int], count: int, random: Random) -> list[int]:
    """Return ``count`` of the bars, or all there are, in random order."""
    return shuffled(bars, random)[:count]


def shuffled(bars: Sequence[int], random: Random) -> list[int]:
    """Return the bars in random order."""
    keys = [random.random() for _ in bars]
    return [bar for _, bar in sorted(zip(keys, bars, strict=True))]
