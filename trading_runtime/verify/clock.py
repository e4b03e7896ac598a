"""Another time: the clocks that strategy code can read, moved by any amount while a decision is repeated.

A decision that depends on the clock decides differently when the clock is moved; one that merely reads it, to
log, does not. What cannot be moved: clocks behind other libraries, and clocks bound to names inside functions
or objects.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_SECOND_NS = 1_000_000_000
# What makes a date or a time out of something else than now.
_MAKERS = (
    "combine", "fromisocalendar", "fromisoformat", "fromordinal", "fromtimestamp", "strptime",
    "utcfromtimestamp",
)  # fmt: skip


class MovedClock:
    """The clocks of ``time`` and ``datetime``, moved by ``seconds`` wherever they were ``installed``."""

    def __init__(self) -> None:
        self.seconds = 0
        self._moved_by_real = self._all_moved()

    @contextmanager
    def installed(self, modules: Iterable[ModuleType]) -> Iterator[None]:
        """Put the moved clocks into ``time``, ``datetime`` and wherever ``modules`` hold the real ones."""
        undo: list[tuple[ModuleType, str, Any]] = []
        try:
            for module in (time, datetime, *modules):
                for name, value in list(vars(module).items()):
                    moved = self._moved_by_real.get(id(value))
                    if moved is not None:
                        undo.append((module, name, value))
                        setattr(module, name, moved)
            yield
        finally:
            for module, name, value in undo:
                setattr(module, name, value)
            self.seconds = 0

    def _all_moved(self) -> dict[int, Any]:
        """Return identity of the real clock -> moved clock."""
        moved: dict[int, Any] = {}
        for name in ("time", "monotonic", "perf_counter"):
            moved[id(getattr(time, name))] = self._moved(getattr(time, name), 1)
            nanoseconds = getattr(time, f"{name}_ns")
            moved[id(nanoseconds)] = self._moved(nanoseconds, _SECOND_NS)
        for name in ("gmtime", "localtime", "ctime"):
            moved[id(getattr(time, name))] = self._moved_conversion(getattr(time, name), time.time)
        real_time, real_date = datetime.datetime, datetime.date

        def now(tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return real_time.now(tz) + datetime.timedelta(seconds=self.seconds)

        def utcnow() -> datetime.datetime:
            return now(datetime.UTC).replace(tzinfo=None)

        def today() -> datetime.date:
            return now().date()

        moved[id(real_time)] = _moved_class(real_time, {"now": now, "utcnow": utcnow, "today": now})
        moved[id(real_date)] = _moved_class(real_date, {"today": today})
        return moved

    def _moved(self, clock: Callable[[], Any], per_second: int) -> Callable[[], Any]:
        def moved() -> Any:
            return clock() + self.seconds * per_second

        return moved

    def _moved_conversion(self, convert: Any, now: Callable[[], float]) -> Callable[..., Any]:
        def moved(seconds: float | None = None) -> Any:
            return convert(now() + self.seconds if seconds is None else seconds)

        return moved


def _moved_class(real: type, clocks: dict[str, Callable[..., Any]]) -> type:
    """Return a class that stands for ``real``: it makes real instances, and only its clocks are others."""

    def made(cls: type, *arguments: Any, **named: Any) -> Any:
        return real(*arguments, **named)

    def is_instance(cls: type, instance: object) -> bool:
        return isinstance(instance, real)

    content: dict[str, Any] = {name: staticmethod(getattr(real, name)) for name in _MAKERS if hasattr(real, name)}
    content |= {name: staticmethod(clock) for name, clock in clocks.items()}
    kind: Any = type("Moved", (type,), {"__instancecheck__": is_instance})
    moved: type = kind(real.__name__, (real,), {**content, "__new__": made})
    return moved


def modules_of(files: Iterable[str]) -> list[ModuleType]:
    """Return the loaded modules whose source is among ``files``, given as resolved paths."""
    wanted = set(files)
    names = {os.path.basename(file) for file in wanted}
    found = []
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and os.path.basename(file) in names and os.path.realpath(file) in wanted:
            found.append(module)
    return found
