"""Findings: what can be wrong with candles, how bad it is, and the report that carries grade and score.

    grade A   nothing was found
    grade B   only warnings: unusual, but every bar is there and possible
    grade C   repairable: the candles are right, but some are missing, doubled, out of order or not closed yet
    grade D   not trustworthy: at least one row cannot be true

How things are found is in ``data/quality.py``; how they are mended in ``data/repair.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trading_runtime.core.bars import Integers

Grade = Literal["A", "B", "C", "D"]
Severity = Literal["warning", "repairable", "error"]

GRADES: tuple[Grade, ...] = ("A", "B", "C", "D")
# What runs and imports ask for unless told otherwise: warnings pass, anything missing or impossible does not.
GRADE_DEFAULT: Grade = "B"

SEVERITY: dict[str, Severity] = {
    "not_a_number": "error",
    "non_positive_price": "error",
    "negative_volume": "error",
    "impossible_bar": "error",
    "conflicting_duplicates": "error",
    "mixed_units": "error",
    "off_grid": "error",
    "gaps": "repairable",
    "identical_duplicates": "repairable",
    "disorder": "repairable",
    "unclosed_last_bar": "repairable",
    "zero_volume": "warning",
    "outliers": "warning",
    "stuck_feed": "warning",
    "unit_switch": "warning",
    "revisions": "warning",
}
_GRADE_OF_SEVERITY: dict[Severity, Grade] = {"warning": "B", "repairable": "C", "error": "D"}


@dataclass(frozen=True)
class Place:
    """One row a finding names: its source, its row there (None for a bar that is missing) and its open time,
    ISO UTC.
    """

    source: str
    row: int | None
    time: str

    def to_json(self) -> dict[str, Any]:
        """Return the place as plain data."""
        return {"source": self.source, "row": self.row, "time": self.time}


@dataclass(frozen=True)
class Finding:
    """One kind of trouble: how many rows (or missing bars) it concerns and the first few of them."""

    kind: str
    severity: Severity
    count: int
    message: str
    first: tuple[Place, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "count": self.count,
            "message": self.message,
            "first": [place.to_json() for place in self.first],
        }


@dataclass(frozen=True, eq=False)
class QualityReport:
    """What was found in the rows of one symbol; equal rows give an equal report on every machine.

    ``expected`` is the number of bars between first and last open time, ``score`` the share of them that
    carries no error. ``positions`` maps kinds to all offending positions in the RawBars that was assessed; it
    is not part of the JSON form.
    """

    rows: int
    expected: int
    score: float
    findings: tuple[Finding, ...]
    positions: Mapping[str, Integers] = field(default_factory=dict)

    @property
    def grade(self) -> Grade:
        """The letter of the worst finding."""
        return max((_GRADE_OF_SEVERITY[finding.severity] for finding in self.findings), default="A")

    def finding(self, kind: str) -> Finding | None:
        """Return the finding of a kind, or None when there is none."""
        return next((finding for finding in self.findings if finding.kind == kind), None)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data: grade, score, rows, expected and findings, worst first."""
        return {
            "grade": self.grade,
            "score": self.score,
            "rows": self.rows,
            "expected": self.expected,
            "findings": [finding.to_json() for finding in self.findings],
        }

    def table(self) -> str:
        """Return the findings as an aligned table for people, without a line end after the last row."""
        lines = [("finding", "severity", "count", "rows")]
        lines += [(finding.kind, finding.severity, str(finding.count), _places(finding)) for finding in self.findings]
        widths = [max(len(line[column]) for line in lines) for column in range(3)]
        return "\n".join(
            f"{kind:<{widths[0]}}  {severity:<{widths[1]}}  {count:>{widths[2]}}  {places}"
            for kind, severity, count, places in lines
        )

    def worst(self) -> str:
        """Return the worst finding in one line, for an error message; empty when nothing was found."""
        if not self.findings:
            return ""
        finding = self.findings[0]
        more = f" (and {len(self.findings) - 1} other kind(s) of finding)" if len(self.findings) > 1 else ""
        return f"{finding.kind}: {finding.message}{more}"


def is_below(grade: Grade, minimum: Grade) -> bool:
    """Return whether ``grade`` is worse than ``minimum``."""
    return grade > minimum


def _places(finding: Finding) -> str:
    several = len({place.source for place in finding.first}) > 1
    shown = []
    for place in finding.first[:3]:
        row = "missing" if place.row is None else f"{place.source}:{place.row}" if several else str(place.row)
        shown.append(f"{row} ({place.time})")
    return ", ".join(shown) + (", ..." if finding.count > len(shown) else "")
