"""Recorded decisions beside those of a backtest over the same slots: which differ, and what was recorded that says why.

A decision is a pure function, so two that differ were given different things: bars, guards, the state as fills and
earlier decisions had left it, other code. What was given is compared; a difference without any is a defect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trading_runtime.backtest.market import Market
from trading_runtime.backtest.trace import Decided, Ended, Entry, Fill, Funded, Trace
from trading_runtime.core.gates import Guards
from trading_runtime.core.slot import bars_reference
from trading_runtime.core.state import FundingPaid, Order, OrderEnded, OrderFilled, OrderPlaced, State, apply
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.recorded import DecisionRecorded
from trading_runtime.cycle.replay import Difference, first_difference

_COMPARED = ("intents", "orders", "reasons", "refusals")
_NOTHING: dict[str, Any] = {name: [] for name in _COMPARED}


@dataclass
class SlotDifference:
    """A slot that was decided differently: the first place, with what was recorded and what the backtest has there;
    ``reasons`` are those that the journal gives, none when it gives none.
    """

    slot: int
    difference: Difference
    reasons: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        path, recorded, backtest = self.difference
        return {
            "slot": iso_time(self.slot),
            "path": path,
            "recorded": recorded,
            "backtest": backtest,
            "reasons": self.reasons,
        }


class DecisionPairs:
    """The decisions of both sides by slot. ``standing`` are the recorded ones that were acted on, ``start`` is the
    state that the backtest began with.
    """

    def __init__(self, standing: Sequence[DecisionRecorded], trace: Trace, market: Market, start: State) -> None:
        self._market, self._trace, self._start = market, trace, start
        self._recorded: dict[int, list[DecisionRecorded]] = {}
        for decision in standing:
            self._recorded.setdefault(decision.slot, []).append(decision)
        self._backtest = {decided.slot: decided for decided in trace.decisions()}

    def differing(self) -> list[SlotDifference]:
        """Return every slot of the backtest that was decided differently, in order."""
        found: list[SlotDifference] = []
        remembers = any(
            one.decision["strategy_state"] or one.seen["state"]["strategy_state"]
            for decisions in self._recorded.values()
            for one in decisions
        )
        is_carried = False
        for slot, state, decided in _slots(self._trace, self._market, self._start):
            recorded = self._recorded.get(slot, [])
            one, other = _recorded_json(recorded), _NOTHING if decided is None else _decided_json(decided)
            if one != other:
                difference = SlotDifference(slot, first_difference(one, other), self._reasons(recorded, state))
                if is_carried and remembers:
                    difference.reasons.append("an earlier slot was decided differently, and the strategy remembers")
                found.append(difference)
                is_carried = True
            elif not recorded:
                is_carried = True
        return found

    def quantity_class(self, slot: int, order_id: str) -> str:
        """Return why an order of this slot was filled on one side only, or in different quantities."""
        recorded = self._recorded.get(slot, [])
        decided = self._backtest.get(slot)
        one = {order["order_id"]: order for decision in recorded for order in decision.decision["orders"]}
        other = {} if decided is None else {order.order_id: order.to_json() for order in decided.orders}
        is_known = order_id in one or order_id in other  # else a limit became it, or it is a part of a child
        if (one.get(order_id) == other.get(order_id)) if is_known else (one == other):
            return "rejected_or_partial"
        return "data_revision" if any(self._is_revised(decision) for decision in recorded) else "decision"

    def _reasons(self, recorded: Sequence[DecisionRecorded], state: State) -> list[str]:
        """Return what a slot's decision was given that the backtest's was not."""
        if not recorded:
            return ["no cycle decided this slot"]
        decision, reasons = recorded[0], []
        if any(one.seen["flatten"] for one in recorded):
            reasons.append("a person had everything closed")
        guards = _guards(decision.seen["guards"])
        if guards:
            reasons.append(f"guards: {guards}")
        if self._is_revised(decision):
            reasons.append("its bars were others")
        if decision.seen.get("suspended"):
            reasons.append(f"the market of {', '.join(decision.seen['suspended'])} did not trade")
        if decision.seen["artifact"] is not None:
            reasons.append("it had an artifact")
        one, other = _book(decision.seen["state"]), _book(state.to_json())
        if one != other:
            path, was, is_ = first_difference(one, other)
            reasons.append(f"its account was another: {path} {was}, in the backtest {is_}")
        return reasons

    def _is_revised(self, decision: DecisionRecorded) -> bool:
        """Whether a decision saw other bars than the backtest has."""
        for symbol, reference in decision.seen["bars"].items():
            series = self._market.bars.get(symbol)
            if series is None:
                return True
            start = (reference["first_open"] - int(series.open_time[0])) // series.bar_ms
            stop = start + reference["count"]
            if start < 0 or stop > len(series) or bars_reference(series.slice(start, stop)) != reference:
                return True
        return False


def _slots(trace: Trace, market: Market, start: State) -> Iterator[tuple[int, State, Decided | None]]:
    """Yield each slot of the backtest with the state before its decision, and the decision if there was one."""
    state, index, entries = start, 0, trace.entries
    for bar in range(trace.first_bar, market.count):
        decided: Decided | None = None
        while index < len(entries) and entries[index].bar == bar:
            entry = entries[index]
            if isinstance(entry, Decided):
                decided = entry
                yield market.close_time(bar), state, decided
            else:
                state = _after(state, entry, market)
            index += 1
        if decided is None:
            yield market.close_time(bar), state, None
        else:
            for order in decided.orders:
                state = apply(state, OrderPlaced(order))


def _after(state: State, entry: Entry, market: Market) -> State:
    if isinstance(entry, Fill):
        order: Order = entry.order
        if order.order_id not in state.orders:  # a market order that a limit became
            state = apply(state, OrderPlaced(order))
        return apply(
            state,
            OrderFilled(order.order_id, order.symbol, order.side, entry.quantity, entry.price, entry.value, entry.fee),
        )
    if isinstance(entry, Ended):
        return apply(state, OrderEnded(entry.order_id, entry.status, entry.reason))
    assert isinstance(entry, Funded)
    return apply(state, FundingPaid(market.symbols[entry.symbol_index], entry.amount))


def _recorded_json(recorded: Sequence[DecisionRecorded]) -> dict[str, Any]:
    """Return what one side's decisions of a slot came to; there are two where a person had everything closed."""
    return {name: [item for one in recorded for item in one.decision[name]] for name in _COMPARED}


def _decided_json(decided: Decided) -> dict[str, Any]:
    return {
        "intents": [intent.to_json() for intent in decided.intents],
        "orders": [order.to_json() for order in decided.orders],
        "reasons": list(decided.reasons),
        "refusals": [refusal.to_json() for refusal in decided.refusals],
    }


def _guards(recorded: Mapping[str, Any]) -> str:
    """Return the guards that a backtest does not have, by name and with the reasons that were given."""
    usual = Guards()._asdict()
    names = [name for name, value in recorded.items() if name != "details" and value != _plain(usual.get(name))]
    details = [text for text in recorded["details"].values() if text]
    return ", ".join(names) + (f" ({'; '.join(details)})" if names and details else "")


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value


def _book(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a decision can see of an account: cash, positions, open orders."""
    return {
        "cash": state["cash"],
        "positions": {
            one["symbol"]: {"quantity": one["quantity"], "cost": one["cost"]}
            for one in state["positions"]
            if one["quantity"]
        },
        "orders": {one["order_id"]: {"filled": one["filled"]} for one in state["orders"]},
    }
