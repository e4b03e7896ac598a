"""The lines of a check in their order, each asked whatever became of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trading_runtime.config.load import LoadedCycleSettings
from trading_runtime.core.errors import ConfigurationError, DataError, TemporaryError, TradingRuntimeError
from trading_runtime.cycle.clock import Clock
from trading_runtime.cycle.preflight import artifact, funds, here, kept, market
from trading_runtime.cycle.preflight.check import Check, Failed, NotChecked, Outcome, Warned
from trading_runtime.cycle.preflight.ground import Ground
from trading_runtime.telemetry.redact import redact

Line = Callable[[Ground], str]
_LINES: dict[str, Line] = {
    "configuration": here.check_configuration,
    "strategy": here.check_strategy,
    "code": here.check_code,
    "live gate": here.check_live_gate,
    "store": kept.check_store,
    "state": kept.check_state,
    "control": kept.check_control,
    "lease": kept.check_lease,
    "exchange": market.check_exchange,
    "markets": market.check_markets,
    "account": funds.check_account,
    "key rights": funds.check_key_rights,
    "fees": funds.check_fees,
    "cash": funds.check_cash,
    "open orders": funds.check_open_orders,
    "book": funds.check_book,
    "bars": market.check_bars,
    "notifications": here.check_notifications,
}
_ARTIFACT: dict[str, Line] = {"artifact": artifact.check_artifact}
NAMES = tuple(_LINES)
VALIDATE_NAMES = (*NAMES, *_ARTIFACT)


def preflight(
    loaded: LoadedCycleSettings,
    mode: str,
    environment: Mapping[str, str],
    clock: Clock,
    *,
    base_url: str | None = None,
) -> list[Check]:
    """Return every line for a start in ``mode`` (live or paper), in the order of ``NAMES``; ``live gate`` may come
    several times. Never raises for what is wrong with the world.
    """
    return _checked(_LINES, Ground(loaded, mode, environment, clock, base_url, may_write=True))


def validate(
    loaded: LoadedCycleSettings,
    mode: str,
    environment: Mapping[str, str],
    clock: Clock,
    *,
    base_url: str | None = None,
) -> list[Check]:
    """Return the lines of ``preflight`` and what the artifact ladder gives, in the order of ``VALIDATE_NAMES``. Nothing
    at all is written.
    """
    return _checked({**_LINES, **_ARTIFACT}, Ground(loaded, mode, environment, clock, base_url, may_write=False))


def nothing_checked(error: ConfigurationError, names: tuple[str, ...] = NAMES) -> list[Check]:
    """Return all lines where the configuration itself cannot be read."""
    rest: list[Check] = [Check(name, "not checked", "the configuration is wrong") for name in names[1:]]
    return [Check("configuration", "failed", redact(" ".join(str(error).split()))), *rest]


def _checked(lines: Mapping[str, Line], ground: Ground) -> list[Check]:
    checks: list[Check] = []
    try:
        for name, line in lines.items():
            outcome, detail = ask_line(line, ground)
            checks += ground.more
            ground.more.clear()
            if detail:
                checks.append(Check(name, outcome, redact(" ".join(detail.split()), ground.environment)))
    finally:
        ground.close()
    return checks


def ask_line(line: Line, ground: Ground) -> tuple[Outcome, str]:
    """Return what one line comes to; an empty text says that ``ground.more`` has all there is to say."""
    try:
        return "ok", line(ground)
    except NotChecked as reason:
        return "not checked", str(reason)
    except Warned as warning:
        return "warning", str(warning)
    except (TemporaryError, DataError) as error:
        return "unreachable", str(error)
    except (Failed, TradingRuntimeError) as error:
        return "failed", str(error)
