"""The strategy contract: what somebody writes, and what the runtime gives and takes.

A strategy is pure. It declares parameters and columns on its class, and ``decide`` maps the inputs of one closed bar to
a proposal: intents, a new strategy state, reasons. It keeps nothing on ``self``; whatever it must remember travels in
its state, which is plain JSON and is persisted by the runtime. ``trading-runtime verify`` proves that for a given
strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.expressions import (
    Expression,
    OnTimeframe,
    Universe,
    Window,
    has_timeframe,
    is_of_universe,
    windowed_nodes,
)
from trading_runtime.core.intents import Intent, target
from trading_runtime.core.parameters import Parameters
from trading_runtime.core.refusals import Refusal

if TYPE_CHECKING:
    from trading_runtime.core.state import Order


_NONE_SUSPENDED: Mapping[str, float] = MappingProxyType({})


class Permissions:
    """What the account may do right now: the same questions live (control, risk state, artifact) and in a backtest."""

    __slots__ = ("new_risk", "short")

    def __init__(self, *, new_risk: bool = True, short: bool = False) -> None:
        self.new_risk = new_risk
        self.short = short


class Inputs:
    """What ``decide`` sees at the close of one bar. Declared columns are attributes beside the ones below.

    The object is reused from bar to bar, so a strategy must not keep it. Quantities are float64 in base units and money
    float64 in the quote currency, for reasoning only: amounts that matter are computed by the runtime in integers.
    ``index`` is the row of the bar among the bars at hand, for the runtime and for tests: a live cycle holds fewer bars
    than a backtest, so a decision that depends on it fails ``verify``. The time of the bar is ``as_of``.
    """

    __slots__ = ("_source", "artifact", "index", "permissions", "state", "symbol", "symbols")

    symbols: tuple[str, ...]
    symbol: str
    state: Mapping[str, Any]
    permissions: Permissions
    artifact: Any
    index: int
    _source: Any

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @property
    def as_of(self) -> int:
        """The bar's close time, milliseconds UTC: the moment of the decision."""
        time: int = self._source.time_of(self.index)
        return time

    @property
    def price(self) -> float:
        """The close of the first symbol's bar, the price amounts are sized at."""
        return self.price_of(self.symbol)

    def price_of(self, symbol: str) -> float:
        """The last known close of ``symbol``."""
        price: float = self._source.price_of(symbol, self.index)
        return price

    @property
    def position(self) -> float:
        """The signed quantity held of the first symbol."""
        return self.position_of(self.symbol)

    def position_of(self, symbol: str) -> float:
        """The signed quantity held of ``symbol``, 0.0 when there is none."""
        quantity: float = self._source.position_of(symbol)
        return quantity

    def entry_price_of(self, symbol: str) -> float:
        """The average price of the position in ``symbol``, 0.0 when there is none."""
        price: float = self._source.entry_price_of(symbol)
        return price

    def profit_of(self, symbol: str) -> float:
        """What ``symbol`` has earned since the account was opened: realised and unrealised, less fees and funding. Also
        of a symbol that is no longer held; 0.0 of one that never was. Deposits and withdrawals are no part of it.
        """
        profit: float = self._source.profit_of(symbol, self.index)
        return profit

    def lot_of(self, symbol: str) -> float:
        """The step of quantities of ``symbol`` at present: an order's quantity is rounded down to a multiple of it."""
        lot: float = self._source.lot_of(symbol, self.index)
        return lot

    @property
    def equity(self) -> float:
        """Cash plus positions at the last closes. What is ``suspended`` counts with what is certain of it: spot with
        nothing, a contract without its unrealised profit.
        """
        equity: float = self._source.equity(self.index)
        return equity

    @property
    def cash(self) -> float:
        """Quote money that spot can be bought with: what is in spot is gone, contracts tie up none of it."""
        cash: float = self._source.cash()
        return cash

    @property
    def suspended(self) -> Mapping[str, float]:
        """Symbols that are held and whose market does not trade, with their last known price: no order in them passes.
        They are not among ``symbols``; what is asked of a symbol by name can be asked of them. A backtest has none.
        """
        suspended: Mapping[str, float] = getattr(self._source, "suspended", _NONE_SUSPENDED)
        return suspended

    @property
    def orders(self) -> Sequence[Order]:
        """Orders still open, oldest first."""
        orders: Sequence[Order] = self._source.open_orders()
        return orders


class Proposal:
    """What a strategy wants at one bar: intents, the state to carry on (None keeps the present one) and reasons to
    record.

    ``refusals`` are what it would have wanted, had its own conditions been met. ``facts`` is plain JSON for people,
    what the decision was made from: it is recorded and reported, and nothing is ever traded by it.
    """

    __slots__ = ("facts", "intents", "reasons", "refusals", "state")

    def __init__(
        self,
        intents: Sequence[Intent] = (),
        state: Mapping[str, Any] | None = None,
        reasons: Sequence[str] = (),
        *,
        refusals: Sequence[Refusal] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.intents = intents
        self.state = state
        self.reasons = reasons
        self.refusals = refusals
        self.facts = facts


class Strategy:
    """Base class of every strategy.

    ``Params`` declares the parameters. Class attributes that are column expressions become attributes of the inputs.
    ``targets`` (optional) gives the target weight per symbol: the intent is sent whenever the weight changes, and
    ``decide`` follows from it unless it is overridden with an equivalent. ``wake`` (optional) is an expression that
    holds on every bar where ``decide`` could act: elsewhere it is not called, except after a fill or the end of an
    order. ``needs_artifact`` says that it consumes a publication: without one configured no cycle starts.
    """

    Params: ClassVar[type[Parameters]] = Parameters
    columns: ClassVar[Mapping[str, Expression]] = {}
    targets: ClassVar[Expression | None] = None
    wake: ClassVar[Expression | None] = None
    needs_artifact: ClassVar[bool] = False
    _windowed: ClassVar[tuple[Expression, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = {
            name: value
            for name, value in vars(cls).items()
            if isinstance(value, Expression) and name not in ("targets", "wake")
        }
        for name in own:
            if hasattr(Inputs, name) or name.startswith("_") or name == "target":
                raise StrategyError(
                    f"{cls.__qualname__}: a column cannot be called {name!r}, the inputs have that name already"
                )
            if hasattr(Strategy, name) or name == "params":
                raise StrategyError(
                    f"{cls.__qualname__}: a column cannot be called {name!r}, every strategy has that name already"
                )
        cls.columns = {**cls.columns, **{name: _for_inputs(expression) for name, expression in own.items()}}
        for name in ("targets", "wake"):
            expression = getattr(cls, name)
            if expression is not None and not isinstance(expression, Expression):
                raise StrategyError(f"{cls.__qualname__}.{name} must be an expression over columns, not {expression!r}")
            if isinstance(expression, Window):
                raise StrategyError(f"{cls.__qualname__}.{name} must be one value per bar, not a window")
        declared = [*cls.columns.values(), *(extra for extra in (cls.targets, cls.wake) if extra is not None)]
        cls._windowed = tuple(
            {id(node): node for expression in declared for node in windowed_nodes(expression)}.values()
        )

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        self.params: Any = self.Params(parameters)

    def bars_needed(self, bar_ms: int) -> int:
        """The number of closed bars of length ``bar_ms`` that one decision depends on."""
        values = self.params.to_json()
        return max((node.window(values, bar_ms) for node in self._windowed), default=1)

    def longer_bars_needed(self, bar_ms: int) -> tuple[int, dict[str, int]]:
        """Return the bars of length ``bar_ms``, and those of each longer timeframe, that one decision depends on when
        the longer ones are not made of the shorter ones but given. No timeframe is named where a column on it is read
        by one on shorter bars over more than the present bar: then everything must be made of those.
        """
        values = self.params.to_json()
        base, longer = 1, dict[str, int]()
        for node in self._windowed:
            if isinstance(node, OnTimeframe):
                longer[node.timeframe] = max(longer.get(node.timeframe, 1), node.source.window(values, node.bar_ms))
            elif has_timeframe(node):
                return self.bars_needed(bar_ms), {}
            else:
                base = max(base, node.window(values, bar_ms))
        return base, longer

    def sleeve_of(self, symbol: str) -> str:
        """Return the part of the portfolio that ``symbol`` belongs to, for reports; empty where there are no parts."""
        return ""

    def decide(self, inputs: Inputs) -> Proposal | None:
        """Return what to do at this bar, or None for nothing. Must depend on ``inputs`` and ``self.params`` alone."""
        if self.targets is None:
            raise StrategyError(f"{type(self).__qualname__} gives neither decide nor targets")
        held: Mapping[str, float] = inputs.state.get("targets", {})
        changed = {
            symbol: weight
            for symbol, weight in zip(inputs.symbols, inputs.target, strict=True)
            if weight == weight and weight != held.get(symbol, 0.0)  # NaN is no opinion: the last target stays
        }
        if not changed:
            return None
        intents = [target(symbol, weight, reason="target") for symbol, weight in changed.items()]
        return Proposal(intents, state={**inputs.state, "targets": {**held, **changed}})


def _for_inputs(expression: Expression) -> Expression:
    """Return a declared column as decide gets it: what is made of universe columns is itself of the universe."""
    return Universe(expression) if is_of_universe(expression) and not isinstance(expression, Universe) else expression
