"""One line of a check, and the three ways in which a line does not simply pass. What is asked is beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from trading_runtime.core.errors import EXIT_CONFIGURATION, EXIT_DONE, EXIT_TEMPORARY

Outcome = Literal["ok", "warning", "failed", "unreachable", "not checked"]


class Check(NamedTuple):
    """One line: ``failed`` needs a person, ``unreachable`` may pass; ``detail`` says what is, or what to do."""

    name: str
    outcome: Outcome
    detail: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "outcome": self.outcome, "detail": self.detail}


class NotChecked(Exception):
    """What a line needs is not there; the text says what."""


class Failed(Exception):
    """A line that a person must do something about; the text says what."""


class Warned(Exception):
    """A line that is good enough, with something to know about it."""


def exit_code(checks: Sequence[Check]) -> int:
    """Return 77 when a person must change something, 75 when something was not there, 0 otherwise."""
    outcomes = {one.outcome for one in checks}
    if "failed" in outcomes:
        return EXIT_CONFIGURATION
    return EXIT_TEMPORARY if "unreachable" in outcomes else EXIT_DONE
