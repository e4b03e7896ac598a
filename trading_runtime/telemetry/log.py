"""Structured log lines on standard error: one object for each event, without secrets, and never an error of their own.

    {"time": "2024-01-31T12:00:03.120Z", "level": "info", "event": "order_sent", "run_id": ..., "slot": ..., ...}

``TRADING_RUNTIME_LOG`` is the least level that is written (debug, info, warning, error, off; default info),
``TRADING_RUNTIME_LOG_FORMAT`` json or text (default: text on a terminal, else json). A value that is none of these is
told in a line and otherwise ignored: a log must not keep anybody from trading. What an event means is the caller's.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final, Literal, TextIO

from trading_runtime.core.timeframes import iso_time
from trading_runtime.telemetry.redact import HIDDEN, Redactor, is_secret_name

Form = Literal["json", "text"]

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "off": 100}
LEVEL_VARIABLE: Final = "TRADING_RUNTIME_LOG"
FORMAT_VARIABLE: Final = "TRADING_RUNTIME_LOG_FORMAT"

# What follows time, level and event first, as far as it is known.
_FIRST = ("run_id", "slot", "account")
_RESERVED = frozenset({"time", "level", "event"})
# Limits that keep one line readable and collectors from cutting it.
_TEXT_LENGTH_MAX = 4_000
_ITEMS_MAX = 100
_DEPTH_MAX = 6
_TIME_MS_END = 253_402_300_800_000  # the year 10000, where ISO times end
_BARE = re.compile(r"[A-Za-z0-9_.:/+%*-]+")


class EventLog:
    """Writes events. ``bind`` gives a log whose lines carry further fields; both write to the same place."""

    __slots__ = ("_fields", "_form", "_level", "_now_ms", "_redactor", "_stream")

    def __init__(
        self,
        *,
        level: str = "info",
        form: Form = "json",
        stream: TextIO | None = None,
        environment: Mapping[str, str] | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        """``environment`` holds the secrets to leave out; ``stream`` is standard error, as it is when a line is
        written, unless given. Raises ValueError for a level that is none.
        """
        if level not in LEVELS:
            raise ValueError(f"{level!r} is no level: use {', '.join(LEVELS)}")
        self._level = LEVELS[level]
        self._form: Form = form
        self._stream = stream
        self._redactor = Redactor({} if environment is None else environment)
        self._now_ms = _wall_clock_ms if now_ms is None else now_ms
        self._fields: dict[str, Any] = {}

    def bind(self, **fields: Any) -> EventLog:
        """Return a log that adds ``fields`` (run_id, slot in milliseconds, account, ...) to each of its lines."""
        bound = object.__new__(EventLog)
        for name in EventLog.__slots__:
            setattr(bound, name, getattr(self, name))
        bound._fields = {**self._fields, **fields}
        return bound

    def debug(self, event: str, /, **fields: Any) -> bool:
        return self.write("debug", event, fields)

    def info(self, event: str, /, **fields: Any) -> bool:
        return self.write("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> bool:
        return self.write("warning", event, fields)

    def error(self, event: str, /, **fields: Any) -> bool:
        return self.write("error", event, fields)

    def write(self, level: str, event: str, fields: Mapping[str, Any]) -> bool:
        """Write one line; returns whether it was written. Never raises.

        A line is not written when its level is below the log's or the stream cannot take it.
        """
        try:
            if LEVELS.get(level, LEVELS["error"]) < self._level or self._level == LEVELS["off"]:
                return False
            line = self._line(level, event, fields)
        except Exception as problem:  # noqa: BLE001 - a value with a broken __str__ must not stop what is reported on
            # The type alone: the message could hold the very value that could not be cleaned.
            line = json.dumps({"level": "error", "event": "log_line_failed", "problem": type(problem).__name__})
        try:
            stream = sys.stderr if self._stream is None else self._stream
            stream.write(line + "\n")
            stream.flush()
        except Exception:  # noqa: BLE001 - closed, full or gone: there is nowhere left to say so
            return False
        return True

    def _line(self, level: str, event: str, fields: Mapping[str, Any]) -> str:
        given = {**self._fields, **fields}
        content = {(f"{name}_" if name in _RESERVED else name): value for name, value in given.items()}
        slot = content.get("slot")
        if isinstance(slot, int) and not isinstance(slot, bool) and 0 <= slot < _TIME_MS_END:
            content["slot"] = iso_time(slot)
        cleaner = _Cleaner(self._redactor)
        first = {name: content[name] for name in _FIRST if name in content}
        cleaned = {"time": _iso_ms(self._now_ms()), "level": level, "event": cleaner.text(str(event))}
        cleaned |= cleaner.section({**first, **content})
        if self._form == "text":
            return _text_line(cleaned, _encoding(self._stream))
        # ASCII only: no terminal, collector or lone surrogate can make the line unreadable.
        return json.dumps(cleaned, allow_nan=False)


def log_from_environment(environment: Mapping[str, str], stream: TextIO | None = None) -> EventLog:
    """Return the log that the environment asks for."""
    wanted_level = environment.get(LEVEL_VARIABLE, "").strip().lower() or "info"
    wanted_form = environment.get(FORMAT_VARIABLE, "").strip().lower()
    target = sys.stderr if stream is None else stream
    form: Form = "text" if _is_terminal(target) else "json"
    if wanted_form == "json":
        form = "json"
    elif wanted_form == "text":
        form = "text"
    level = wanted_level if wanted_level in LEVELS else "info"
    log = EventLog(level=level, form=form, stream=stream, environment=environment)
    if level != wanted_level:
        log.warning("log_setting_unknown", variable=LEVEL_VARIABLE, value=wanted_level, known=list(LEVELS), used=level)
    if wanted_form not in ("", "json", "text"):
        log.warning(
            "log_setting_unknown", variable=FORMAT_VARIABLE, value=wanted_form, known=["json", "text"], used=form
        )
    return log


class _Cleaner:
    """Turns any value into plain JSON without secrets, within limits."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def section(self, content: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
        cleaned: dict[str, Any] = {}
        for index, (name, value) in enumerate(content.items()):
            if index == _ITEMS_MAX:
                cleaned["..."] = f"{len(content) - _ITEMS_MAX} more"
                break
            key = self.text(str(name))
            try:
                hidden = is_secret_name(str(name)) and value is not None
                cleaned[key] = HIDDEN if hidden else self.value(value, depth + 1)
            except Exception as problem:  # noqa: BLE001 - one value with a broken __str__ must not cost the whole line
                cleaned[key] = f"unreadable ({type(problem).__name__})"
        return cleaned

    def value(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if abs(value) < 2**63 else self.text(hex(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else repr(float(value))
        if isinstance(value, str):
            return self.text(str(value))
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {value}")
        if depth < _DEPTH_MAX:
            if isinstance(value, Mapping):
                return self.section(value, depth)
            if isinstance(value, Set):
                return sorted((self.value(item, depth + 1) for item in value), key=repr)[:_ITEMS_MAX]
            if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
                items = [self.value(item, depth + 1) for item in value[:_ITEMS_MAX]]
                return items if len(value) <= _ITEMS_MAX else [*items, f"... {len(value) - _ITEMS_MAX} more"]
        return self.text(str(value))

    def text(self, text: str) -> str:
        # Cleaned before it is cut: half a secret is not recognised any more. What is far beyond is not even cleaned.
        clean = self._redactor(text[: 16 * _TEXT_LENGTH_MAX])
        return clean if len(clean) <= _TEXT_LENGTH_MAX else f"{clean[:_TEXT_LENGTH_MAX]}... ({len(text)} characters)"


def _text_line(content: Mapping[str, Any], encoding: str) -> str:
    """One line for people: time of day, level, event, then ``name=value``."""
    rest = [f"{_shown(name)}={_shown(value)}" for name, value in content.items() if name not in _RESERVED]
    words = [str(content["time"])[11:19], f"{content['level']!s:<7}", _shown(content["event"]), *rest]
    return " ".join(words).encode(encoding, "replace").decode(encoding)


def _shown(value: Any) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    # As JSON, control characters are written out: no value can begin a line or colour the terminal.
    return re.sub(r"[\x7f-\x9f\u2028\u2029]", "?", json.dumps(value, ensure_ascii=False, allow_nan=False))


def _iso_ms(time_ms: int) -> str:
    return f"{iso_time(time_ms - time_ms % 1000).removesuffix('Z')}.{time_ms % 1000:03}Z"


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _encoding(stream: TextIO | None) -> str:
    return getattr(sys.stderr if stream is None else stream, "encoding", None) or "utf-8"


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, OSError, ValueError):
        return False
