"""The count of one probe: bars asked about, bars that differed, and the earliest of them."""

from __future__ import annotations

from trading_runtime.verify.sheet import Unlike


class Tally:
    """Counts of one probe, and its earliest difference."""

    def __init__(self) -> None:
        self.bars = 0
        self.differing: set[int] = set()
        self.first: tuple[int, Unlike] | None = None
        self.note = ""

    def add(self, bar: int, unlike: Unlike | None) -> None:
        self.bars += 1
        self.note_difference(bar, unlike)

    def note_difference(self, bar: int, unlike: Unlike | None) -> None:
        """Count a difference at a bar that was counted already."""
        if unlike is not None:
            self.differing.add(bar)
            if self.first is None or bar < self.first[0]:
                self.first = (bar, unlike)
