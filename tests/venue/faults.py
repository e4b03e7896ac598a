"""What may happen to a request on its way to the venue and back, scripted call by call or drawn from a seed.

A fate says three independent things: whether and when the request arrives, whether its answer comes back, and what the
venue shows of an order how late. What the model does with an order that arrives is the model's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from random import Random
from typing import Literal, NamedTuple

CallKind = Literal[
    "place",
    "cancel",
    "order",
    "open_orders",
    "trades",
    "balances",
    "positions",
    "markets",
    "bars",
    "time",
    "move_earn",
    "earn",
    "flows",
]
CALL_KINDS: tuple[CallKind, ...] = (
    "place", "cancel", "order", "open_orders", "trades", "balances", "positions", "markets", "bars", "time",
    "move_earn", "earn", "flows",
)  # fmt: skip


class Fate(NamedTuple):
    """One request's fate. Make it with the functions below; ``_replace`` combines.

    way             ok; lost_request (never arrives); lost_answer (done, nobody hears of it); late_request (arrives
                    ``delay_ms`` after it was sent, its answer is lost); slow_answer (answered after ``delay_ms``);
                    error (``status`` and ``code`` are the answer, whether ``executed`` or not)
    silence_ms      HTTP only: how long a lost connection stays open before it is cut
    retry_seconds   the Retry-After of an error
    invisible_ms    the order is done, or the money moved, and for so long no question shows it
    pending_ms      money that is moved into savings or out of them is on its way for so long
    fails           and then it is back where it was
    trades_late_ms  the order shows what it filled, its trades are listed so much later
    fractions       of its quantity that the order fills at its first, second, ... match; then all of it
    rest_expires    what the first match leaves of it expires: the book had no more
    """

    way: Literal["ok", "lost_request", "lost_answer", "late_request", "slow_answer", "error"] = "ok"
    delay_ms: int = 0
    silence_ms: int = 0
    status: int = 0
    code: int = 0
    message: str = ""
    executed: bool = False
    retry_seconds: int | None = None
    invisible_ms: int = 0
    trades_late_ms: int = 0
    fractions: tuple[Decimal, ...] = ()
    rest_expires: bool = False
    pending_ms: int = 0
    fails: bool = False


OK = Fate()

# The texts that Binance documents for the codes ("Error codes" of its spot and USD-M REST documentation).
MESSAGES = {
    -1000: "An unknown error occurred while processing the request.",
    -1001: "Internal error; unable to process your request. Please try again.",
    -1003: "Too many requests; current limit is 6000 request weight per 1 MINUTE. "
    "Please use the websocket for live updates to avoid polling the API.",
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1007: "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    -1008: "Server is currently overloaded with other requests. Please try again in a few minutes.",
    -1015: "Too many new orders; current limit is 50 orders per 10 SECOND.",
    -1016: "This service is no longer available.",
    -1021: "Timestamp for this request is outside of the recvWindow.",
    -1022: "Signature for this request is not valid.",
    -2010: "Account has insufficient balance for requested action.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -6009: "Request frequency too high.",
}


def lost_request(silence_ms: int = 0) -> Fate:
    return Fate("lost_request", silence_ms=silence_ms)


def lost_answer(silence_ms: int = 0) -> Fate:
    return Fate("lost_answer", silence_ms=silence_ms)


def late_request(delay_ms: int, silence_ms: int = 0) -> Fate:
    return Fate("late_request", delay_ms=delay_ms, silence_ms=silence_ms)


def slow_answer(delay_ms: int) -> Fate:
    return Fate("slow_answer", delay_ms=delay_ms)


def error(
    status: int, code: int = 0, *, executed: bool = False, message: str | None = None, retry_seconds: int | None = None
) -> Fate:
    """An error answer; ``code`` 0 stands for a page of the proxy in front, which is no JSON."""
    text = MESSAGES.get(code, "") if message is None else message
    return Fate("error", status=status, code=code, message=text, executed=executed, retry_seconds=retry_seconds)


def late_visibility(invisible_ms: int) -> Fate:
    return Fate(invisible_ms=invisible_ms)


def late_trades(trades_late_ms: int) -> Fate:
    return Fate(trades_late_ms=trades_late_ms)


def pending(pending_ms: int, *, fails: bool = False) -> Fate:
    """Let money that is moved into savings or out of them arrive later, or come back then."""
    return Fate(pending_ms=pending_ms, fails=fails)


def partial(*fractions: str | float, rest_expires: bool = False) -> Fate:
    """Fill these parts of the quantity, one at each match; a market order goes on filling at later prices."""
    return Fate(fractions=tuple(Decimal(str(fraction)) for fraction in fractions), rest_expires=rest_expires)


Draw = Callable[[str, Random], Fate]


class Faults:
    """The fate of each request: by kind and number of the call (from 0), else drawn, else ok.

    ``asked`` counts the calls of each kind; ``bad`` lists the fates that were not ok, for a failure's message.
    """

    def __init__(
        self,
        script: Mapping[tuple[str, int], Fate] | None = None,
        *,
        draw: Draw | None = None,
        random: Random | None = None,
    ) -> None:
        unknown = sorted({kind for kind, _ in script or ()} - set(CALL_KINDS))
        if unknown:
            raise ValueError(f"no request is of the kind {', '.join(unknown)}; there are {', '.join(CALL_KINDS)}")
        if (draw is None) != (random is None):
            raise ValueError("drawing fates needs both draw and random")
        self.script = dict(script or {})
        self.asked: dict[str, int] = dict.fromkeys(CALL_KINDS, 0)
        self.bad: list[tuple[str, int, Fate]] = []
        self._draw = draw
        self._random = random

    def then(self, kind: CallKind, *fates: Fate) -> None:
        """Give the next calls of this kind these fates."""
        first = self.asked[kind]
        self.script.update({(kind, first + index): fate for index, fate in enumerate(fates)})

    def next(self, kind: str) -> Fate:
        number = self.asked[kind]
        self.asked[kind] = number + 1
        fate = self.script.get((kind, number)) if self.script else None
        if fate is None:
            if self._draw is None or self._random is None:
                return OK
            fate = self._draw(kind, self._random)
        if fate is not OK:
            self.bad.append((kind, number, fate))
        return fate


def stormy(probability: float, *, invisible_ms_max: int = 0, trades_late_ms_max: int = 3000) -> Draw:
    """Return a draw of every fault there is, each request being hit with ``probability``.

    ``invisible_ms_max`` is 0 unless wanted: an order that stays invisible for longer than a request's validity window
    cannot be told from one that never arrived.
    """

    def draw(kind: str, random: Random) -> Fate:
        if random.random() >= probability:
            return OK
        if kind == "place":
            make: Callable[[Random], Fate] = random.choice(_PLACE)
            fate = make(random)
            if random.random() < 0.3:
                fate = fate._replace(trades_late_ms=random.randrange(trades_late_ms_max + 1))
            if invisible_ms_max and random.random() < 0.3:
                fate = fate._replace(invisible_ms=random.randrange(invisible_ms_max + 1))
            return fate
        if kind == "move_earn":
            fate = random.choice(_MOVE)(random)
            if invisible_ms_max and random.random() < 0.3:
                fate = fate._replace(invisible_ms=random.randrange(invisible_ms_max + 1))
            return fate
        make = random.choice(_CANCEL if kind == "cancel" else _QUESTION)
        return make(random)

    return draw


_ARRIVAL: tuple[Callable[[Random], Fate], ...] = (
    lambda random: lost_request(),
    lambda random: lost_answer(),
    lambda random: late_request(random.randrange(1, 8000)),
    lambda random: slow_answer(random.randrange(1, 900)),
    lambda random: error(504, -1007, executed=random.random() < 0.5),
    lambda random: error(random.choice((500, 502, 503, 504)), executed=random.random() < 0.5),
    lambda random: error(429, -1003, retry_seconds=random.randrange(1, 5)),
)
_CANCEL: tuple[Callable[[Random], Fate], ...] = (*_ARRIVAL, lambda random: error(400, -1021))
_PLACE: tuple[Callable[[Random], Fate], ...] = (
    *_CANCEL,
    lambda random: error(418, -1003, retry_seconds=random.randrange(1, 60)),
    lambda random: error(429, -1015),
    lambda random: partial(random.choice(("0.25", "0.5", "0.9"))),
    lambda random: partial(random.choice(("0.25", "0.5", "0.9")), rest_expires=True),
)
_MOVE: tuple[Callable[[Random], Fate], ...] = (
    *_CANCEL,
    lambda random: error(400, -6009),
    lambda random: pending(random.randrange(1, 90_000)),
    lambda random: pending(random.randrange(1, 90_000), fails=True),
)
_QUESTION: tuple[Callable[[Random], Fate], ...] = (
    lambda random: lost_request(),
    lambda random: slow_answer(random.randrange(1, 900)),
    lambda random: error(random.choice((500, 502, 503, 504))),
    lambda random: error(429, -1003, retry_seconds=random.randrange(1, 5)),
    lambda random: error(400, -1021),
)
