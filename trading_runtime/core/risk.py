"""Breakers: how much an account may lose before it takes no new risk. Pure, flow-adjusted, latched.

    drawdown = (peak - equity) / peak       daily loss = (base - equity) / base

Peak and base move with deposits and withdrawals, which are no results: base(t) = base(t-1) + flows since. The base of
a day is the equity at its first slot, UTC. A breaker that has tripped stays tripped until a person resumes trading;
then it measures from the equity of that moment. Only a resume that came after it had tripped counts: the one that was
known by then, to end an earlier halt or an outage, acknowledged something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from trading_runtime.core.timeframes import DAY_MS, iso_time


class RiskLimits(NamedTuple):
    """Fractions of 1; None: not watched."""

    drawdown_fraction_max: float | None = None
    daily_loss_fraction_max: float | None = None


class Tripped(NamedTuple):
    """Which breaker, at which slot, and what was measured; ``resumed_at`` is the last resume that was known by then."""

    breaker: str
    slot: int
    detail: str
    resumed_at: int | None = None

    def is_acknowledged(self, resumed_at: int | None) -> bool:
        """Whether a person has resumed since it tripped; ``resumed_at`` is when one last did."""
        if resumed_at is None or resumed_at < self.slot:
            return False
        return self.resumed_at is None or resumed_at > self.resumed_at


class RiskState(NamedTuple):
    """What is carried from slot to slot: ``peak`` and ``day_base`` are quote units, ``day`` counts since 1970."""

    peak: int
    day: int
    day_base: int
    flows: int
    tripped: Tripped | None = None

    def to_json(self) -> dict[str, Any]:
        tripped = self.tripped
        return {**self._asdict(), "tripped": None if tripped is None else tripped._asdict()}


def risk_from_json(content: Mapping[str, Any]) -> RiskState:
    tripped = content["tripped"]
    return RiskState(**{**content, "tripped": None if tripped is None else Tripped(**tripped)})


def drawdown_fraction(base: int, equity: int) -> float:
    """Return what is lost of ``base``, at least 0; all of it when there is no base left to lose."""
    return max(base - equity, 0) / base if base > 0 else 1.0 if equity < base else 0.0


def watched(
    before: RiskState | None, limits: RiskLimits, equity: int, flows: int, slot: int, resumed_at: int | None
) -> RiskState:
    """Return the risk state at ``slot`` with its equity and all flows so far, in quote units.

    ``resumed_at`` is when a person last resumed trading: what had tripped before is over, and is measured anew.
    """
    day = slot // DAY_MS
    if before is None:
        return _judged(RiskState(equity, day, equity, flows), limits, equity, slot, resumed_at)
    moved = flows - before.flows
    peak, base, tripped = max(before.peak + moved, equity), before.day_base + moved, before.tripped
    if day != before.day:
        base = equity
    if tripped is not None:
        if not tripped.is_acknowledged(resumed_at):
            return RiskState(peak, day, base, flows, tripped)
        peak = base = equity
    return _judged(RiskState(peak, day, base, flows), limits, equity, slot, resumed_at)


def _judged(state: RiskState, limits: RiskLimits, equity: int, slot: int, resumed_at: int | None) -> RiskState:
    for breaker, base, limit in (
        ("drawdown", state.peak, limits.drawdown_fraction_max),
        ("daily_loss", state.day_base, limits.daily_loss_fraction_max),
    ):
        lost = drawdown_fraction(base, equity)
        if limit is not None and not lost < limit:
            detail = f"{breaker} {lost:.4f} of 1 at {iso_time(slot)}, the limit is {limit!r}"
            return state._replace(tripped=Tripped(breaker, slot, detail, resumed_at))
    return state
