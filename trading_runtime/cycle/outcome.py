"""How a cycle ended, in the words of its report: errors by kind, decisions and control as plain data."""

from __future__ import annotations

from typing import Any

from trading_runtime.core.decision import Decision
from trading_runtime.core.errors import ConfigurationError, DataError, TemporaryError, TradingRuntimeError
from trading_runtime.core.slot import decision_to_json
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.report import CycleReport
from trading_runtime.stores.control import ControlView
from trading_runtime.telemetry.redact import redact


def close_with(report: CycleReport, error: TradingRuntimeError) -> None:
    """An error of a known kind: its own exit code, and for what is only not there right now, 75."""
    text = redact(" ".join(str(error).split()))
    if isinstance(error, (TemporaryError, DataError)):
        report.close("no_decision", text)
    elif isinstance(error, ConfigurationError):
        report.close("refused", text)
    else:
        report.close("failed", text, error.exit_code)
    report.errors.append({"kind": type(error).__name__, "detail": text})


def control_json(control: ControlView) -> dict[str, Any]:
    return {
        "risk": control.risk,
        "allows_risk": control.allows_risk,
        "flatten": control.flatten,
        "reason": control.reason,
        "overrides": [one.name for one in control.overrides],
        "unreadable": control.unreadable,
    }


def decision_summary(decision: Decision) -> dict[str, Any]:
    content = decision_to_json(decision)
    del content["strategy_state"]
    return {**content, "slot": iso_time(decision.slot)}
