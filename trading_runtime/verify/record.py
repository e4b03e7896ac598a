"""The recording: one run of the general engine, and beside it what decide was given and what it returned.

The engine runs a stand-in for the strategy that passes every call on, so that nothing in the engine knows of
it. For the recording the wake condition is switched off and decide is called on every bar; a second run with
the condition on tells on which bars the engine would have called it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from trading_runtime.backtest.engine import Account, first_decision_bar, run_general
from trading_runtime.backtest.market import Market
from trading_runtime.core.columns import Constant, Expression
from trading_runtime.core.errors import StrategyError
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.ledger import Position
from trading_runtime.core.state import Order
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.core.timeframes import iso_time


class Book(NamedTuple):
    """The portfolio at one bar, as the inputs tell it; shared by bars on which it is the same. ``ledger`` is what
    profits are made of, at whatever price; a position never changes, so equal ones are the same.
    """

    positions: dict[str, float]
    entry_prices: dict[str, float]
    cash: float
    orders: tuple[Order, ...]
    ledger: dict[str, Position]


class Given(NamedTuple):
    """What decide was given at one bar besides columns: ``state`` is JSON."""

    book: Book
    equity: float
    state: str


class Recording:
    """By bar of the clock: what was given (None where decide was not called) and what came back.

    ``acting`` are the bars with intents or a changed state, ascending. ``derived`` is what the decide that
    follows from targets returned, where the strategy has both. ``flaws`` are breaches seen on the way, with
    their bars.
    """

    def __init__(self, first_bar: int, count: int) -> None:
        self.first_bar = first_bar
        self.given: list[Given | None] = [None] * count
        self.outcomes: list[str | None] = [None] * count
        self.derived: dict[int, str | None] = {}
        self.acting: list[int] = []
        self.flaws: list[tuple[int, str]] = []

    def called(self) -> list[int]:
        """Return the bars on which decide was called, ascending."""
        return [bar for bar, given in enumerate(self.given) if given is not None]


def record(market: Market, strategy: Strategy, account: Account) -> Recording:
    """Run ``strategy`` once over ``market`` with decide called on every bar."""
    recording = Recording(first_decision_bar(market, strategy), market.count)
    has_two = strategy.targets is not None and type(strategy).decide is not Strategy.decide
    symbols = market.symbols
    book: Book | None = None
    artifact: Any = None
    artifact_text = "null"

    def observe(inputs: Inputs) -> Proposal | None:
        nonlocal book, artifact, artifact_text
        bar = inputs.index
        positions = {symbol: inputs.position_of(symbol) for symbol in symbols}
        entry_prices = {symbol: inputs.entry_price_of(symbol) for symbol in symbols}
        now = Book(positions, entry_prices, inputs.cash, tuple(inputs.orders), inputs._source.positions())
        if book is None or now != book:
            book = now
        inputs.state = dict(inputs.state)  # writable, so that a strategy that changes it is told so by name
        state, flaw = state_text(inputs.state)
        if flaw and not recording.flaws:
            recording.flaws.append((bar, flaw))
        recording.given[bar] = Given(book, inputs.equity, state)
        if inputs.artifact is not artifact:
            artifact, artifact_text = inputs.artifact, _plain_text(inputs.artifact)
        if has_two:
            recording.derived[bar] = outcome_of(Strategy.decide(strategy, inputs))
        try:
            proposal = strategy.decide(inputs)
        except Exception as error:
            where = f"decide at the close {iso_time(inputs.as_of)}"
            raise StrategyError(f"{where} raised {type(error).__name__}: {error}") from error
        if state_text(inputs.state)[0] != state:
            recording.flaws.append((bar, "decide changed inputs.state in place: it must return a new state"))
        if artifact is not None and _plain_text(artifact) != artifact_text:
            recording.flaws.append((bar, "decide changed inputs.artifact in place: it is everybody's"))
            artifact_text = _plain_text(artifact)
        recording.outcomes[bar] = outcome_of(proposal)
        if isinstance(proposal, Proposal) and (
            len(proposal.intents)
            or (proposal.state is not None and state_text(proposal.state)[0] != state)
        ):  # fmt: skip
            recording.acting.append(bar)
        return proposal

    is_gated = strategy.wake is not None or strategy.targets is not None
    run_general(market, _stand_in(strategy, Constant(1.0) if is_gated else None, observe), account)
    return recording


def called_bars(market: Market, strategy: Strategy, account: Account) -> set[int]:
    """Return the bars on which the engine calls decide when the wake condition is on."""
    called: set[int] = set()

    def observe(inputs: Inputs) -> Proposal | None:
        called.add(inputs.index)
        return strategy.decide(inputs)

    run_general(market, _stand_in(strategy, strategy.wake, observe), account)
    return called


def outcome_of(proposal: Any) -> str | None:
    """Return the canonical JSON of a proposal, None for None, and a word about anything else."""
    if proposal is None:
        return None
    if not isinstance(proposal, Proposal):
        return json.dumps({"returned": repr(proposal)})
    content: dict[str, Any] = {
        "intents": [intent.to_json() for intent in proposal.intents],
        "reasons": list(proposal.reasons),
        "state": proposal.state,
    }
    if proposal.refusals:
        content["refusals"] = [list(refusal) for refusal in proposal.refusals]
    if proposal.facts is not None:
        content["facts"] = proposal.facts
    return _plain_text(content)


def state_text(state: Any) -> tuple[str, str]:
    """Return the state as JSON, and what is wrong with it if it does not survive being stored and read."""
    if not state and type(state) is dict:
        return "{}", ""
    try:
        text = canonical_json(state).decode()
    except (TypeError, ValueError) as error:
        return _plain_text(state), f"the strategy state is not plain JSON: {error}"
    if not _is_same(json.loads(text), state):
        return (
            text,
            "the strategy state changes when it is stored: JSON knows no tuples and no keys but texts",
        )
    return text, ""


def _is_same(stored: Any, held: Any) -> bool:
    """Whether ``held`` is what reading JSON gives: equality alone lets True pass for 1."""
    if isinstance(held, dict):
        return (
            isinstance(stored, dict)
            and stored.keys() == held.keys()
            and all(_is_same(stored[key], held[key]) for key in held)
        )
    if isinstance(held, list):
        return isinstance(stored, list) and all(map(_is_same, stored, held))
    return bool(stored == held) and isinstance(held, (str, bool, int, float, type(None)))


def _plain_text(content: Any) -> str:
    def plain(value: Any) -> Any:
        return value.item() if isinstance(value, np.generic) else repr(value)

    try:
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=plain)
    except (TypeError, ValueError):
        return json.dumps(repr(content), ensure_ascii=False)  # keys that cannot be sorted, circular values


def _stand_in(strategy: Strategy, wake: Expression | None, observe: Callable[[Inputs], Proposal | None]) -> Strategy:
    """Return a strategy with the same name, parameters and columns whose decide is ``observe``."""
    kind = type(strategy)

    def decide(self: Strategy, inputs: Inputs) -> Proposal | None:
        return observe(inputs)

    def bars_needed(self: Strategy, bar_ms: int) -> int:
        return strategy.bars_needed(bar_ms)

    content = {
        "__doc__": kind.__doc__,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "Params": kind.Params,
        "columns": strategy.columns,
        "targets": strategy.targets,
        "wake": wake,
        "decide": decide,
        "bars_needed": bars_needed,
    }
    stand_in: Strategy = type(kind.__name__, (Strategy,), content)(strategy.params.to_json())
    return stand_in
