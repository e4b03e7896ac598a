"""Replay: recorded decisions made again from what the journal says they saw, and compared byte for byte.

    recorded inputs ─► decide_slot ─► canonical JSON  =  the recorded decision
    start state + events            =  the state that each decision says it saw

The journal is all that is needed besides the strategy's code. Nothing is asked of an exchange, nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trading_runtime.core.errors import ConfigurationError, DataError, StrategyError, TradingRuntimeError
from trading_runtime.core.events import event_from_json
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.slot import decide_slot, decision_to_json
from trading_runtime.core.state import State, apply, state_from_json
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.recorded import (
    BOOKED,
    DecisionRecorded,
    EventsRecorded,
    Progress,
    RecordedBars,
    RecordedSession,
    inputs_of,
)

# What a difference shows of a value that one side does not have.
ABSENT = "(absent)"


class Difference(NamedTuple):
    """The first place at which two documents differ: a path such as ``orders.0.quantity``, and both values there."""

    path: str
    recorded: Any
    now: Any


class DecisionReplay(NamedTuple):
    """One decision made again: ``difference`` is None when it came to the same bytes. ``problem`` says why it could not
    be made: bars that were not recorded, a strategy that fails.
    """

    sequence: int
    slot: int
    superseded: bool
    difference: Difference | None = None
    problem: str = ""

    @property
    def is_same(self) -> bool:
        return self.difference is None and not self.problem

    def to_json(self) -> dict[str, Any]:
        content = {"entry": self.sequence, "slot": iso_time(self.slot), "superseded": self.superseded}
        difference = None if self.difference is None else self.difference._asdict()
        return {**content, "same": self.is_same, "difference": difference, "problem": self.problem}


class ChainBreak(NamedTuple):
    """The entry at which the recorded events stop leading to what was recorded, and how it shows."""

    sequence: int
    slot: int | None
    difference: Difference | None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        difference = None if self.difference is None else self.difference._asdict()
        slot = None if self.slot is None else iso_time(self.slot)
        return {"entry": self.sequence, "slot": slot, "difference": difference, "problem": self.problem}


@dataclass
class SessionReplay:
    """What became of a replay. ``code_hash`` is that of the strategy now, ``recorded_code_hash`` that of the session,
    None when it does not say. ``decisions`` holds those that were asked for, in order; ``chain`` the first break.
    """

    session: str
    strategy: str
    code_hash: str
    recorded_code_hash: str | None
    decisions: list[DecisionReplay] = field(default_factory=list)
    events: int = 0
    chain: ChainBreak | None = None

    @property
    def differing(self) -> list[DecisionReplay]:
        return [one for one in self.decisions if not one.is_same]

    @property
    def is_same(self) -> bool:
        return self.chain is None and not self.differing

    @property
    def is_code_changed(self) -> bool:
        return self.recorded_code_hash is not None and self.code_hash != self.recorded_code_hash

    def to_json(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "same": self.is_same,
            "strategy": {
                "class": self.strategy,
                "code_hash": self.code_hash,
                "recorded_code_hash": self.recorded_code_hash,
                "changed": self.is_code_changed,
            },
            "decisions": len(self.decisions),
            "superseded": sum(one.superseded for one in self.decisions),
            "events": self.events,
            "differing": [one.to_json() for one in self.differing],
            "chain": None if self.chain is None else self.chain.to_json(),
        }


def recorded_strategy(
    recorded: RecordedSession, *, override: str | None = None, folder: Path | None = None
) -> Strategy:
    """Return the session's strategy with its recorded parameters: by the name its identity has, or by ``override``.

    A strategy that came from a file is looked for as the settings named it, from ``folder`` on. Raises
    ConfigurationError when it is not found or has other parameters, StrategyError when it cannot be imported.
    """
    from trading_runtime.config.strategies import strategy_name
    from trading_runtime.strategies.registry import FILE_MODULE_PREFIX, find_strategy

    described = recorded.identity.get("strategy")
    described = described if isinstance(described, Mapping) else {}
    name = override if override is not None else described.get("class")
    if override is None and isinstance(name, str) and name.startswith(FILE_MODULE_PREFIX):
        name = described.get("configured")
    if not isinstance(name, str):
        raise ConfigurationError(
            f"session {recorded.session} does not say which strategy decided: name it with --strategy"
        )
    kind = find_strategy(name if folder is None else strategy_name(name, folder))
    try:
        return kind(described.get("parameters", {}))
    except ConfigurationError as error:
        raise ConfigurationError(f"strategy {name} does not take the recorded parameters: {error}") from None


def replay_session(
    recorded: RecordedSession,
    strategy: Strategy,
    *,
    slots: Collection[int] | None = None,
    progress: Progress | None = None,
) -> SessionReplay:
    """Decide every recorded slot again, or those of ``slots``, and follow the events from the start state to the end.

    Superseded decisions are decided again like all others: they were pure, too. ``progress`` is called with (decisions
    done, decisions in all).
    """
    kind = type(strategy)
    name = f"{kind.__module__}:{kind.__qualname__}"
    replay = SessionReplay(recorded.session, name, code_hash_now(strategy), recorded_code_hash(recorded))
    chain = StateChain(recorded.start)
    total, done = len(recorded.decisions()), 0
    for step, bars in recorded.walk():
        if isinstance(step, EventsRecorded):
            replay.events += len(step.events)
            broken = chain.follow(step)
        elif isinstance(step, DecisionRecorded):
            broken = chain.check(step)
            if slots is None or step.slot in slots:
                replay.decisions.append(replay_decision(strategy, step, bars))
            done += 1
            if progress is not None:
                progress(done, total)
        else:
            continue
        if replay.chain is None:
            replay.chain = broken
    return replay


def replay_slot(recorded: RecordedSession, strategy: Strategy, slot: int) -> SessionReplay:
    """Decide one slot again; raises DataError when the session has no decision for it."""
    replay = replay_session(recorded, strategy, slots={slot})
    if not replay.decisions:
        slots = [one.slot for one in recorded.decisions()]
        known = f"its slots go from {iso_time(min(slots))} to {iso_time(max(slots))}" if slots else "it has none"
        raise DataError(f"session {recorded.session} has no decision for {iso_time(slot)}: {known}")
    return replay


def replay_decision(strategy: Strategy, decision: DecisionRecorded, bars: RecordedBars) -> DecisionReplay:
    """Decide one slot again from what it saw; ``bars`` are those recorded by then. Never raises for what is wrong with
    the record or the strategy: the result says it.
    """
    result = DecisionReplay(decision.sequence, decision.slot, decision.superseded)
    try:
        made = decision_to_json(decide_slot(strategy, inputs_of(decision, bars)))
        now = canonical_json(made)
    except TradingRuntimeError as error:
        return result._replace(problem=" ".join(str(error).split()))
    except (KeyError, TypeError, ValueError) as error:
        return result._replace(problem=f"what it saw is damaged: {type(error).__name__}: {error}")
    if now == canonical_json(decision.decision):
        return result
    return result._replace(difference=first_difference(decision.decision, json.loads(now)))


class StateChain:
    """The state as the recorded events lead to it. A number that comes again was never saved the first time: the state
    goes back to before it.
    """

    def __init__(self, start: State) -> None:
        self.state = start
        self._before: list[tuple[int, State]] = []

    def book(self, event: Mapping[str, Any]) -> None:
        """Apply one event; raises StrategyError, KeyError or TypeError for one that contradicts the state."""
        number = event["number"]
        while self._before and self._before[-1][0] >= number:
            self.state = self._before.pop()[1]
        if event["event"] in BOOKED:
            self._before.append((number, self.state))
            self.state = apply(self.state, event_from_json(event))

    def follow(self, step: EventsRecorded) -> ChainBreak | None:
        """Apply the events of one entry; returns what is wrong with the first that cannot be."""
        broken: ChainBreak | None = None
        for event in step.events:
            try:
                self.book(event)
            except (StrategyError, KeyError, TypeError) as error:
                text = f"event {event.get('number')} ({event.get('event')}): {error}"
                broken = broken or ChainBreak(step.sequence, step.slot, None, text)
        return broken

    def check(self, step: DecisionRecorded) -> ChainBreak | None:
        """Compare with the state that a decision saw, and go on from that one where they differ."""
        seen = step.seen["state"]
        reached = self.state.to_json()
        if reached == seen:
            return None
        try:
            self.state = state_from_json(seen)
        except StrategyError as error:
            return ChainBreak(step.sequence, step.slot, None, str(error))
        self._before.clear()
        difference = first_difference(seen, reached)
        return ChainBreak(step.sequence, step.slot, difference._replace(path=f"state.{difference.path}"))


def code_hash_now(strategy: Strategy) -> str:
    """Return the hash of the strategy's code as it is now."""
    from trading_runtime.source import strategy_code_hash

    return strategy_code_hash(type(strategy))


def recorded_code_hash(recorded: RecordedSession) -> str | None:
    """Return the hash of the code that decided; None when the session does not say."""
    described = recorded.identity.get("strategy")
    return described.get("code_hash") if isinstance(described, Mapping) else None


def is_code_changed(recorded: RecordedSession, strategy: Strategy) -> bool:
    """Whether the session says that other code decided."""
    known = recorded_code_hash(recorded)
    return known is not None and known != code_hash_now(strategy)


def first_difference(recorded: Any, now: Any, path: str = "") -> Difference:
    """Return the first place, keys in alphabetical order, at which two plain documents that differ do so."""
    inner: list[tuple[str, Any, Any]] = []
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        keys = sorted({*recorded, *now})
        inner = [(key, recorded.get(key, ABSENT), now.get(key, ABSENT)) for key in keys]
    elif isinstance(recorded, list) and isinstance(now, list):
        length = max(len(recorded), len(now))
        inner = [(str(index), _at(recorded, index), _at(now, index)) for index in range(length)]
    for key, one, other in inner:
        if canonical_json(one) != canonical_json(other):
            return first_difference(one, other, f"{path}.{key}" if path else key)
    return Difference(path, recorded, now)


def _at(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else ABSENT
