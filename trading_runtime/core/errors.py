"""What can go wrong, named by what a person should do about it, with the exit code each one ends in.

    TradingRuntimeError
    ├── ConfigurationError   the settings are wrong: stop, tell a person            exit 77
    ├── DataError            a file is missing, unreadable or not good enough       exit 66
    │   └── BarsError        candles that cannot be trusted
    ├── OutputError          a result cannot be written                             exit 73
    ├── StrategyError        a strategy broke its contract                          exit 70
    ├── AmountError          an amount left the range that integers here may have   exit 70
    ├── TemporaryError       nothing was sent, a retry is safe                      exit 75
    │   ├── StoreUnavailable
    │   └── ExchangeUnavailable
    ├── FateUnknown          an order may or may not have reached the exchange      exit 76
    └── HaltError            trading must stop until a person has looked            exit 78
        └── StoreDamaged

A *refusal* (a gate said no) is not an error: it is a normal result, see ``intents``.
Exit codes 64 and 65 are Argo's own and never used.
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_DEFECT = 1
EXIT_USAGE = 2
EXIT_FINDING = 3  # a check that ran to its end and said no: quality, verify, compare
EXIT_DATA = 66  # EX_NOINPUT of sysexits.h
EXIT_STRATEGY = 70  # EX_SOFTWARE
EXIT_OUTPUT = 73  # EX_CANTCREAT
EXIT_TEMPORARY = 75  # EX_TEMPFAIL: nothing was sent, a retry is safe
EXIT_UNKNOWN = 76  # the fate of an order is unknown: the next cycle asks before it acts
EXIT_CONFIGURATION = 77  # EX_NOPERM in sysexits.h; here: configuration or credentials, as for the live cycle
EXIT_HALT = 78  # risk halt: no new risk until a person has looked
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class TradingRuntimeError(Exception):
    """An error that is told in one line: what is wrong, where, what to do."""

    exit_code = EXIT_DEFECT


class ConfigurationError(TradingRuntimeError):
    """A setting is unknown, malformed or contradicts another one."""

    exit_code = EXIT_CONFIGURATION


class DataError(TradingRuntimeError):
    """Market data is missing, unreadable or below the required quality."""

    exit_code = EXIT_DATA


class BarsError(DataError):
    """Candles are disordered, gapped, duplicated, impossible or not numbers."""


class OutputError(TradingRuntimeError):
    """A result could not be written; nothing was left half-written."""

    exit_code = EXIT_OUTPUT


class StrategyError(TradingRuntimeError):
    """A strategy declared or returned something that its contract does not allow."""

    exit_code = EXIT_STRATEGY


class TemporaryError(TradingRuntimeError):
    """Something needed is not there right now; nothing was sent."""

    exit_code = EXIT_TEMPORARY


class StoreUnavailable(TemporaryError):
    """The store cannot be reached, read or written. What was to be written may or may not be there."""


class ExchangeUnavailable(TemporaryError):
    """The exchange did not answer a question, or refused to for now. Never raised for an order that was sent."""


class FateUnknown(TradingRuntimeError):
    """An order or a cancel was sent and its answer is missing or says nothing: ask before acting."""

    exit_code = EXIT_UNKNOWN


class HaltError(TradingRuntimeError):
    """Trading must not go on until a person has looked."""

    exit_code = EXIT_HALT


class StoreDamaged(HaltError):
    """A document is missing where one must be, unreadable, or fails its checksum."""


class AmountError(TradingRuntimeError):
    """An amount is not finite or exceeds what a 63-bit integer of its unit can hold."""

    exit_code = EXIT_STRATEGY


def nearest_name(name: str, known: list[str]) -> str | None:
    """Return the known name most like ``name``, or None when nothing is close: for "did you mean" messages."""
    from difflib import get_close_matches

    matches = get_close_matches(name, known, n=1, cutoff=0.55)
    return matches[0] if matches else None
