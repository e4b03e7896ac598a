"""``trading-runtime compare-live``: a recorded session beside its backtest, and where the difference comes from. The
comparing is in ``trading_runtime/cycle/compare_live.py``.
"""

from __future__ import annotations

import argparse
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from trading_runtime.cli.arguments import Subparsers, add_verb, print_json, table
from trading_runtime.cli.sessions import add_journal, recorded_session, strategy_of
from trading_runtime.core.errors import EXIT_DONE, EXIT_FINDING, DataError
from trading_runtime.core.timeframes import iso_time

if TYPE_CHECKING:
    from trading_runtime.core.bars import Bars
    from trading_runtime.cycle.compare_live import LiveComparison
    from trading_runtime.cycle.recorded import RecordedSession

_LINES_SHOWN = 10
_MEANING = {
    "decision": "only one side decided it so",
    "data_revision": "decided on other bars",
    "rejected_or_partial": "decided on both sides, filled differently",
    "timing": "filled in another bar",
    "price": "filled in the same bar at another price",
    "fee": "other fees",
    "funding": "other funding",
    "rounding": "positions as a whole against order by order",
}


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "compare-live",
        "explain what a session earned beside its backtest; exits with 3 when a decision differs for no reason",
        "compare-live newest --config trading_runtime/local/paper.json",
        "compare-live newest --config trading_runtime/local/paper.json --data data/BTC-USDT-1h.parquet",
        "compare-live newest --journal session.jsonl --json",
    )
    parser.add_argument("session", metavar="SESSION", nargs="?", default="newest", help="a session (the newest)")
    add_journal(parser, "compare this exported session; no configuration is needed")
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="FILE",
        help="candles for the backtest instead of the recorded ones, to find what was revised; once for each symbol",
    )
    parser.add_argument("--strategy", metavar="NAME", help="another strategy than the recorded one")
    parser.add_argument("--json", action="store_true", help="print JSON, every line included, instead of tables")
    parser.set_defaults(handler=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from trading_runtime.cli.backtest import progress_of_bars
    from trading_runtime.cycle.compare_live import compare_session

    recorded = recorded_session(arguments, arguments.session)
    strategy = strategy_of(arguments, recorded)
    data = _data(arguments.data, recorded) if arguments.data else None
    with progress_of_bars() as progress:
        comparison = compare_session(recorded, strategy, data=data, progress=progress)
    if arguments.json:
        print_json(comparison.to_json())
    else:
        print(text(comparison))
    return EXIT_FINDING if comparison.unexplained else EXIT_DONE


def _data(paths: list[str], recorded: RecordedSession) -> dict[str, Bars]:
    """Return the bars of the files by symbol, resampled to the session's timeframe where they are finer."""
    from trading_runtime.core.bars import resample
    from trading_runtime.data.files import load_bars

    found: dict[str, Bars] = {}
    for path in paths:
        only = recorded.symbols[0] if len(recorded.symbols) == 1 else None
        try:
            bars = load_bars(Path(path)).bars
        except DataError:
            if only is None:
                raise
            bars = load_bars(Path(path), symbol=only).bars  # its symbol goes without saying
        if bars.symbol in found:
            raise DataError(f"{path}: {bars.symbol} is given twice; keep one file per symbol")
        found[bars.symbol] = bars if bars.timeframe == recorded.timeframe else resample(bars, recorded.timeframe)
    return found


def text(comparison: LiveComparison) -> str:
    """Return a comparison as people read it: both results, the classes, the largest lines, decisions that differ."""

    def money(units: int) -> str:
        return f"{units * Decimal(comparison.quote_unit):+,.8f}"

    fills = f"{comparison.live_fills:,} fills, {comparison.backtest_fills:,} in the backtest"
    period = f"{iso_time(comparison.first_slot)} to {iso_time(comparison.last_slot)}"
    head = [
        ["session", f"{comparison.session} ({comparison.mode}), {comparison.strategy}"],
        ["period", f"{period}: {comparison.decisions:,} decisions, {fills}"],
    ]
    results = [
        ["", comparison.quote],
        [comparison.mode, money(comparison.live)],
        ["backtest", money(comparison.backtest)],
        ["difference", money(comparison.difference)],
    ]
    classes = [["class", comparison.quote, ""]]
    classes += [[kind, money(amount), _MEANING[kind]] for kind, amount in comparison.classes().items() if amount]
    parts = [table(head), table(results, right=(1,))]
    if len(classes) > 1:
        parts.append(table(classes, right=(1,)))
    largest = comparison.largest(_LINES_SHOWN)
    if largest:
        rows = [["largest lines", "class", comparison.quote, "what"]]
        rows += [[line.order_id or line.symbol, line.kind, money(line.amount), line.detail] for line in largest]
        parts.append(table(rows, right=(2,)))
    parts.append(_decisions(comparison))
    parts += [f"note: {note}" for note in comparison.notes]
    return "\n\n".join(parts)


def _decisions(comparison: LiveComparison) -> str:
    from trading_runtime.cli.replay import shown

    differing, unexplained = comparison.differing, comparison.unexplained
    if not differing:
        return "every decision is the backtest's"
    if unexplained:
        rows = [["decided differently for no recorded reason", "field", comparison.mode, "backtest"]]
        rows += [
            [iso_time(one.slot), one.difference.path, shown(one.difference.recorded), shown(one.difference.now)]
            for one in unexplained[:_LINES_SHOWN]
        ]
        return table(rows)
    first = differing[0]
    return (
        f"{len(differing):,} slot(s) were decided differently, each for a recorded reason; the first is "
        f"{iso_time(first.slot)}: {first.difference.path}; {'; '.join(first.reasons)}"
    )
