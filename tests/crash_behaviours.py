"""The exchange's behaviours in the crash matrix: what becomes of which request, and what is shown of it how late.

Which scenario meets which of them is in ``crash_scenarios.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cycle_world import World
from venue.faults import (
    Fate,
    error,
    late_request,
    late_trades,
    late_visibility,
    lost_answer,
    lost_request,
    partial,
    pending,
    slow_answer,
)


class Behaviour(NamedTuple):
    """What the exchange does to some of the requests, by kind and number.

    ``ticks``: the market goes on trading, so that what fills in parts goes on filling.
    """

    name: str
    script: Mapping[tuple[str, int], Fate]
    ticks: bool = False

    def start(self, world: World) -> None:
        if self.ticks:
            now = world.clock.now_ms()
            for second in range(2, 122, 4):
                world.clock.at(now + second * 1000, world.venue.tick)


class _Place(NamedTuple):
    name: str
    fates: tuple[Fate, ...]
    ticks: bool = False


_PLACE = (
    _Place("request lost", (lost_request(),)),
    _Place("request lost twice", (lost_request(), lost_request())),
    _Place("request lost until the attempts run out", (lost_request(), lost_request(), lost_request())),
    _Place("answer lost", (lost_answer(),)),
    _Place("request late, within its window", (late_request(2000),)),
    _Place("request late, at the end of its window", (late_request(5000),)),
    _Place("request late, after its window", (late_request(5001),)),
    _Place("request late and then invisible", (late_request(4900)._replace(invisible_ms=2900),)),
    _Place("request late, its repetition lost", (late_request(6000), lost_answer())),
    _Place("answer slow", (slow_answer(500),)),
    _Place("answer slower than the client waits", (slow_answer(2000),)),
    _Place("-1007, executed", (error(504, -1007, executed=True),)),
    _Place("-1007, not executed", (error(504, -1007),)),
    _Place("500, executed", (error(500, executed=True),)),
    _Place("500, not executed", (error(500),)),
    _Place("502, executed", (error(502, executed=True),)),
    _Place("503, not executed", (error(503),)),
    _Place("504, executed, no JSON", (error(504, executed=True),)),
    _Place("429, Retry-After 2", (error(429, -1003, retry_seconds=2),)),
    _Place("418, Retry-After 60", (error(418, -1003, retry_seconds=60),)),
    _Place("-1021", (error(400, -1021),)),
    _Place("-2010", (error(400, -2010),)),
    _Place("-1015", (error(429, -1015),)),
    _Place("order visible late", (late_visibility(2000),)),
    _Place("order visible as late as allowed", (late_visibility(7900),)),
    _Place("answer lost, order visible late", (lost_answer()._replace(invisible_ms=6900),)),
    _Place("fills visible late", (late_trades(3000),)),
    _Place("answer lost, fills visible late", (lost_answer()._replace(trades_late_ms=4000),)),
    _Place("fills in parts", (partial("0.25", "0.25"),), True),
    _Place("answer lost, fills in parts", (lost_answer()._replace(fractions=partial("0.5").fractions),), True),
    _Place("partly filled, the rest expires", (partial("0.5", rest_expires=True),)),
    _Place(
        "answer lost, partly filled, the rest expires",
        (lost_answer()._replace(fractions=partial("0.5").fractions, rest_expires=True),),
    ),
)
_CANCEL = (
    ("request lost", lost_request()),
    ("answer lost", lost_answer()),
    ("request late, within its window", late_request(2000)),
    ("request late, after its window", late_request(6000)),
    ("answer slow", slow_answer(500)),
    ("-1007, executed", error(504, -1007, executed=True)),
    ("-1007, not executed", error(504, -1007)),
    ("500, executed", error(500, executed=True)),
    ("503, not executed", error(503)),
    ("429, Retry-After 2", error(429, -1003, retry_seconds=2)),
    ("418, Retry-After 60", error(418, -1003, retry_seconds=60)),
    ("-1021", error(400, -1021)),
)
_ANSWERS_MISSING = 3  # a question is asked that often before it counts as not answered

OK = Behaviour("ok", {})
_NUMBERED = ("order", "second order", "third order", "fourth order")
_MOVE = (
    ("request lost", lost_request()),
    ("answer lost", lost_answer()),
    ("503, not executed", error(503)),
    ("request late, within its window", late_request(2000)),
    ("request late, at the end of its window", late_request(4900)),
    ("request late, after its window", late_request(6000)),
    ("-1007, executed", error(504, -1007, executed=True)),
    ("429, Retry-After 2", error(429, -1003, retry_seconds=2)),
    ("-1021", error(400, -1021)),
    ("-6009", error(400, -6009)),
    ("visible late", late_visibility(7900)),
    ("answer lost, visible late", lost_answer()._replace(invisible_ms=6900)),
    ("on its way", pending(15_000)),
    ("on its way, then back", pending(15_000, fails=True)),
)
# What the live pool's orders meet: what is known after them differs. Each order of its cycles goes the same way.
_PLACE_OF_LIVE_POOL = frozenset(
    (
        "request lost", "answer lost", "request late, within its window", "request late, after its window",
        "-1007, executed", "503, not executed", "418, Retry-After 60", "-1021", "-2010",
        "answer lost, order visible late", "answer lost, fills visible late", "partly filled, the rest expires",
    )
)  # fmt: skip
_FEW = ("answer lost", "request late, after its window", "503, not executed")


def place_behaviours(number: int = 0) -> list[Behaviour]:
    """What may happen to the order that is sent as the ``number``-th."""
    which = _NUMBERED[number]
    return [
        Behaviour(
            f"{which}: {one.name}",
            {("place", number + index): fate for index, fate in enumerate(one.fates)},
            one.ticks,
        )
        for one in _PLACE
    ]


def cancel_behaviours() -> list[Behaviour]:
    return [Behaviour(f"cancel: {name}", {("cancel", 0): fate}) for name, fate in _CANCEL]


def question_behaviours() -> list[Behaviour]:
    """A question that is never answered, one that is answered at the second attempt, and a pair with a lost answer."""
    kinds = ("order", "trades", "balances", "open_orders", "positions", "markets", "bars", "time")
    found = [
        Behaviour(f"{kind}: not answered", {(kind, number): lost_request() for number in range(_ANSWERS_MISSING)})
        for kind in kinds
    ]
    found.append(Behaviour("order: 503, then answered", {("order", 0): error(503)}))
    found.append(Behaviour("trades: 429, then answered", {("trades", 0): error(429, -1003, retry_seconds=3)}))
    found.append(
        Behaviour(
            "answer lost, and nobody says what became of the order",
            {("place", 0): lost_answer(), **{("order", number): lost_request() for number in range(6)}},
        )
    )
    found.append(
        Behaviour(
            "request lost, and nobody says what became of the order",
            {("place", 0): lost_request(), **{("order", number): error(500) for number in range(6)}},
        )
    )
    return found


def move_behaviours(number: int = 0) -> list[Behaviour]:
    """What may happen to the ``number``-th movement of savings."""
    which = ("movement", "second movement")[number]
    return [Behaviour(f"{which}: {name}", {("move_earn", number): fate}) for name, fate in _MOVE]


def savings_behaviours() -> list[Behaviour]:
    """Questions about savings that are not answered, early and late in the cycle, and after a lost answer."""
    found = [
        Behaviour(f"{kind}: questions {first} on not answered", {(kind, first + n): lost_request() for n in range(3)})
        for kind, firsts in (("earn", (0, 1, 3, 5)), ("flows", (0, 1)))
        for first in firsts
    ]
    silent = {("earn", number): lost_request() for number in range(4, 13)}
    found.append(
        Behaviour("movement: answer lost, and the history is silent", {("move_earn", 0): lost_answer(), **silent})
    )
    found.append(
        Behaviour("movement: request lost, and the history is silent", {("move_earn", 0): lost_request(), **silent})
    )
    return found


def behaviours_called(name: str) -> list[Behaviour]:
    """The behaviours of a group: of an order or a movement by its number, of questions; ", few" for the fewest."""
    what, _, few = name.partition(", ")
    if what == "savings":
        return savings_behaviours()
    if what == "questions":
        return question_behaviours()
    if what.endswith("movement"):
        found = move_behaviours(("movement", "second movement").index(what))
    else:
        found = place_behaviours(_NUMBERED.index(what))
        found = [one for one in found if one.name.partition(": ")[2] in _PLACE_OF_LIVE_POOL]
    return [one for one in found if not few or one.name.partition(": ")[2] in _FEW]
