"""Refusals: what was wanted and not done, with the gate that blocked it and why. A normal result, never an error.

Two speak this way: the chain of gates that every intent passes (``gates.py``), and a strategy that finds its own
conditions not met and wants nothing (``Proposal.refusals``). What is decided is not here.
"""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    """``category`` groups gates for people: safety, limits, money, strategy, data, or a part of a strategy such as
    trend. ``symbol`` and ``leg`` are empty where the gate is not about one.
    """

    gate: str
    category: str
    symbol: str = ""
    leg: str = ""
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        return self._asdict()
