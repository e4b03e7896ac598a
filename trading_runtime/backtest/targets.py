"""Where targets change: the only bars that matter to a strategy that declares ``targets``.

Most targets choose between a few weights (``where(fast > slow, 0.95, 0.0)``). Their conditions are kept in one byte a
bar, and a kernel scans eight bars at a time for the next change; other targets are evaluated to a column of weights and
compared. Both ways find the same changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trading_runtime.backtest import kernel
from trading_runtime.backtest.engine import first_decision_bar, target_changes, target_columns
from trading_runtime.backtest.market import Market
from trading_runtime.core.bars import Floats, Integers
from trading_runtime.core.columns import Constant, Expression, Operation, ParameterReference, resolve
from trading_runtime.core.errors import StrategyError
from trading_runtime.core.evaluate import Columns
from trading_runtime.core.strategy import Strategy

CHOICES_MAX = 16
COMPARISONS_MAX = 2  # what kernel.run_cells scans
_OR_EQUAL = {"greater": False, "greater_equal": True, "less": False, "less_equal": True}


@dataclass
class TargetChanges:
    """When the target of which symbol changes to what, ordered by bar, then symbol."""

    bar: Integers
    symbol: Integers
    weight: Floats


class TargetFinder:
    """Finds the target changes of many parameter sets of one market; keeps its buffers, so one thread, one finder."""

    def __init__(self, market: Market) -> None:
        self._market = market
        longest = max(len(bars) for bars in market.bars.values())
        self._masks = np.zeros((0, -(-longest // 8) * 8), dtype=np.uint8)
        self._bars = np.empty(longest, dtype=np.int64)
        self._weights = np.empty(longest)

    def find(self, strategy: Strategy, columns: Columns, first_bar: int | None = None) -> TargetChanges:
        """Return the changes from the first decision bar on (0 is held before any); raises StrategyError without
        targets.
        """
        market = self._market
        if strategy.targets is None:
            raise StrategyError(f"{type(strategy).__qualname__} declares no targets")
        first = first_decision_bar(market, strategy) if first_bar is None else first_bar
        choices = choices_of(strategy.targets)
        if choices is None:
            found = []
            for column in target_columns(market, strategy, columns):
                bars = target_changes(column, first)
                found.append((bars, column[bars]))
        else:
            values = strategy.params.to_json()
            weights = np.array([float(resolve(weight, values)) for weight in choices.weights])
            found = [
                self._scan(strategy.targets, choices, weights, columns, index, first)
                for index in range(len(market.symbols))
            ]
        return _merged(found)

    def _scan(
        self, targets: Expression, choices: Choices, weights: Floats, columns: Columns, index: int, first_bar: int
    ) -> tuple[Integers, Floats]:
        market = self._market
        symbol, offset = market.symbols[index], market.first[index]
        count = len(market.bars[symbol])
        if len(self._masks) != len(choices.conditions):
            self._masks = np.zeros((len(choices.conditions), self._masks.shape[1]), dtype=np.uint8)
        for row, condition in zip(self._masks, choices.conditions, strict=True):
            columns.condition_into(condition, symbol, row[:count].view(np.bool_))
        start = max(first_bar - offset, 0)
        if len(market.symbols) > 1:
            # One symbol's windows may fill later than another's: until then its targets have no opinion.
            start = max(start, min(columns.known_from(targets, symbol), count))
        used = kernel.scan_choices(self._masks, weights, count, start, self._bars, self._weights)
        return self._bars[:used] + offset, self._weights[:used].copy()  # the buffers are used again


@dataclass
class Choices:
    """``where(c0, w0, where(c1, w1, ... w))`` flattened: the first condition that holds picks its weight, the last
    weight is for none.
    """

    conditions: list[Expression]
    weights: list[Expression]


@dataclass
class Comparisons:
    """Choices made by one or two comparisons: condition i holds where ``left[i]`` > ``right[i]``, or equals it if
    ``or_equal[i]``.
    """

    left: list[Expression]
    right: list[Expression]
    or_equal: list[bool]
    weights: list[Expression]


def comparisons_of(targets: Expression) -> Comparisons | None:
    """Return targets as choices that compare columns only, or None when they are something else."""
    choices = choices_of(targets)
    if choices is None or len(choices.conditions) > COMPARISONS_MAX:
        return None
    found = Comparisons([], [], [], choices.weights)
    for condition in choices.conditions:
        if not isinstance(condition, Operation) or condition.name not in _OR_EQUAL:
            return None
        first, second = condition.operands
        swapped = condition.name.startswith("less")
        found.left.append(second if swapped else first)
        found.right.append(first if swapped else second)
        found.or_equal.append(_OR_EQUAL[condition.name])
    return found


def choices_of(targets: Expression) -> Choices | None:
    """Return targets as a choice between weights that do not depend on the bar, or None when they are something
    else.
    """
    conditions: list[Expression] = []
    weights: list[Expression] = []
    node = targets
    while isinstance(node, Operation) and node.name == "where":
        condition, chosen, node = node.operands
        if not _is_number(chosen):
            return None
        conditions.append(condition)
        weights.append(chosen)
    if not conditions or not _is_number(node) or len(conditions) > CHOICES_MAX:
        return None
    return Choices(conditions, [*weights, node])


def _is_number(node: Expression) -> bool:
    if isinstance(node, Operation):
        return node.name in ("add", "subtract", "multiply", "divide", "negative") and all(
            map(_is_number, node.operands)
        )
    return isinstance(node, (Constant, ParameterReference))


def _merged(found: list[tuple[Integers, Floats]]) -> TargetChanges:
    if len(found) == 1:
        bars, weights = found[0]
        return TargetChanges(bars, np.zeros(len(bars), dtype=np.int64), weights)
    symbols = np.concatenate([np.full(len(bars), index, dtype=np.int64) for index, (bars, _) in enumerate(found)])
    all_bars = np.concatenate([bars for bars, _ in found])
    all_weights = np.concatenate([weights for _, weights in found])
    order = np.lexsort((symbols, all_bars))
    return TargetChanges(all_bars[order], symbols[order], all_weights[order])
