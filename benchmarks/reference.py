"""The yardstick: the benchmark's work as a bare Python loop with two running sums, no orders, no checks, no accounts.

Long-only SMA(fast)/SMA(slow) cross, decided at the close, filled at the next open, 0.1 % fee, 95 % of equity. Run as a
script it is the whole process to compare a cold start with: ``python benchmarks/reference.py FILE.csv``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

FEE = 0.001
WEIGHT = 0.95
START_CASH = 1_000_000.0


def run(opening: Sequence[float], close: Sequence[float], fast: int = 20, slow: int = 50) -> tuple[float, int]:
    """Return (final equity, fills)."""
    fast_window: deque[float] = deque()
    slow_window: deque[float] = deque()
    fast_sum = slow_sum = 0.0
    cash, position, pending, fills = START_CASH, 0.0, 0.0, 0
    for bar, price in enumerate(close):
        if pending:
            paid = opening[bar]
            if pending > 0.0:
                cash -= pending * paid * (1.0 + FEE)
                position += pending
            else:
                cash += position * paid * (1.0 - FEE)
                position = 0.0
            fills += 1
            pending = 0.0
        fast_window.append(price)
        slow_window.append(price)
        fast_sum += price
        slow_sum += price
        if len(fast_window) > fast:
            fast_sum -= fast_window.popleft()
        if len(slow_window) > slow:
            slow_sum -= slow_window.popleft()
        if bar >= slow - 1:
            above, below = fast_sum / fast, slow_sum / slow
            if not position:
                if above > below:
                    pending = WEIGHT * cash / price
            elif above < below:
                pending = -1.0
    return cash + position * close[-1], fills


def read(path: str) -> tuple[list[float], list[float]]:
    """Return (opens, closes) of a CSV with a header, by the standard library alone."""
    import csv

    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        pairs = [(float(row["open"]), float(row["close"])) for row in rows]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


if __name__ == "__main__":
    import json
    import sys

    equity, fills = run(*read(sys.argv[1]))
    print(json.dumps({"equity": equity, "fills": fills}))
