"""Writing a decision down, with all that it saw, before it is acted on: what a replay decides again from.

The bars that the journal has already are not written again. What is read back is ``recorded.py``'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trading_runtime.core.bars import Bars
from trading_runtime.core.decision import Decision
from trading_runtime.core.errors import StrategyError
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.slot import SlotInputs, decision_to_json
from trading_runtime.cycle.bars import keep, rows_to_record
from trading_runtime.cycle.context import Context
from trading_runtime.cycle.suspended import keep_marks

ROWS_PER_ENTRY = 2_000
# A strategy's state is in the account's document twice, as it is and in the event that tells of it, beside all else.
STATE_BYTES_MAX = 128 * 1024


def record_decision(
    context: Context,
    given: SlotInputs,
    decision: Decision,
    cut: Mapping[str, Bars],
    wider: Mapping[str, Bars],
    surroundings: Mapping[str, Any],
) -> Sequence[str]:
    """Write down what the decision saw and came to, and let the account remember its bars and prices. ``cut`` are the
    bars it depends on, ``wider`` the same and one more of each; ``surroundings`` are what it did not see and people
    want to know. Returns the symbols whose past the source has changed.
    """
    account, keeper = context.account, context.keeper
    keeper.flush(given.slot)
    new = rows_to_record(wider, cut, account.bars_kept)
    rows = new.rows
    if sum(len(one) for one in rows.values()) > ROWS_PER_ENTRY:
        for symbol, lines in rows.items():
            for start in range(0, len(lines), ROWS_PER_ENTRY):
                keeper.record("bars", given.slot, {"rows": {symbol: lines[start : start + ROWS_PER_ENTRY]}})
        rows = {}
    content = {
        "rows": rows,
        "seen": given.to_json(),
        "context": {**surroundings, "revised": list(new.revised)},
        "decision": decision_to_json(decision),
    }
    keeper.record("decision", given.slot, content)
    account.bars_kept = keep(cut)
    keep_marks(context, given.bars, given.slot)
    if new.revised:
        context.note("bars_revised", symbols=list(new.revised))
    return new.revised


def check_strategy_state(decision: Decision, strategy: str) -> None:
    """Raise StrategyError for a strategy's state that cannot be kept, before anything of the decision is."""
    try:
        length = len(canonical_json(dict(decision.strategy_state)))
    except (TypeError, ValueError) as error:
        raise StrategyError(f"{strategy}: the state that decide returned is not plain JSON: {error}") from error
    if length > STATE_BYTES_MAX:
        raise StrategyError(
            f"{strategy}: the state that decide returned has {length} bytes, more than the {STATE_BYTES_MAX} an "
            "account may carry: keep less of the past"
        )
