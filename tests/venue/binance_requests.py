"""Reading a request to Binance: whose it is, whether its time is right, and the parameters in it, each refused with the
documented code and text ("Request security", "Timing security" and "Error codes" of the REST documentation).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from decimal import Decimal
from typing import Any

from .account import VenueAccount
from .faults import Fate
from .http_server import Request
from .market import VenueMarket
from .model import Venue
from .orders import NewOrder, VenueError

AHEAD_MS_MAX = 1000
WINDOW_MS_DEFAULT = 5000
WINDOW_MS_MAX = 60_000
_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_SIDES = {"BUY": 1, "SELL": -1}


def authenticated(venue: Venue, request: Request, parameters: dict[str, str]) -> VenueAccount:
    """Return whose request it is; raises VenueError for a key, a signature or a time that is not right."""
    key = request.headers.get("x-mbx-apikey", "")
    if not key:
        raise VenueError(-2014, "API-key format invalid.", 401)
    account = next((one for one in venue.accounts.values() if one.api_key == key), None)
    if account is None:
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    for name in ("timestamp", "signature"):
        if not parameters.get(name):
            raise missing(name)
    window = parameters.get("recvWindow", str(WINDOW_MS_DEFAULT))
    if not re.fullmatch(r"\d+(\.\d{1,3})?", window) or float(window) > WINDOW_MS_MAX:
        raise VenueError(-1131, f"recvWindow must be less than {WINDOW_MS_MAX}.")
    text = "&".join(part for part in (request.query, request.body) if part)
    signed, mark, signature = text.rpartition("&signature=")
    expected = hmac.new(account.api_secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    if not mark or not hmac.compare_digest(signature, expected):
        raise VenueError(-1022, "Signature for this request is not valid.")
    stamp, now = integer("timestamp", parameters["timestamp"]), venue.now_ms()
    if not stamp < now + AHEAD_MS_MAX:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if not now - stamp <= float(window):
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")
    return account


def missing(name: str) -> VenueError:
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def integer(name: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,20}", text):
        raise VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def decimal(parameters: dict[str, str], name: str) -> Decimal | None:
    """Return an amount, None when it was not sent; exponents and signs are illegal, more than 8 decimals too fine."""
    text = parameters.get(name)
    if text is None:
        return None
    if not _DECIMAL.fullmatch(text):
        raise VenueError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^([0-9]{{1,20}})(\\.[0-9]{{1,20}})?$'.",
        )
    if len(text.partition(".")[2].rstrip("0")) > 8:
        raise VenueError(-1111, f"Parameter '{name}' has too much precision.")
    return Decimal(text)


def new_order(market: VenueMarket, parameters: dict[str, str], fate: Fate, id_name: str, trigger_name: str) -> NewOrder:
    for name in ("side", "type"):
        if not parameters.get(name):
            raise missing(name)
    if parameters["side"] not in _SIDES:
        raise VenueError(-1117, "Invalid side.")
    client_id = parameters.get(id_name, "")
    if id_name in parameters and not _CLIENT_ID.fullmatch(client_id):
        raise VenueError(
            -1100,
            f"Illegal characters found in parameter '{id_name}'; legal range is '^[\\.A-Z\\:/a-z0-9_-]{{1,36}}$'.",
        )
    quantity = decimal(parameters, "quantity")
    if quantity is None:
        raise missing("quantity")
    kind = parameters["type"]
    if "timeInForce" not in parameters and kind in ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"):
        raise missing("timeInForce")
    if "timeInForce" in parameters and kind in ("MARKET", "LIMIT_MAKER", "STOP_LOSS") and not market.is_perpetual:
        raise VenueError(-1106, "Parameter 'timeInForce' sent when not required.")
    reduce_only = parameters.get("reduceOnly", "false").lower()
    if reduce_only not in ("true", "false"):
        raise VenueError(-1102, "Mandatory parameter 'reduceOnly' was not sent, was empty/null, or malformed.")
    return NewOrder(
        market.symbol, _SIDES[parameters["side"]], kind, quantity, client_id, decimal(parameters, "price"),
        decimal(parameters, trigger_name), parameters.get("timeInForce", "GTC"), reduce_only == "true",
        fate.fractions, fate.rest_expires, fate.invisible_ms, fate.trades_late_ms,
    )  # fmt: skip


def which_order(parameters: dict[str, str], id_name: str, client_id_name: str) -> tuple[int | None, str]:
    """Return which order is meant: by the exchange's id, else by the client's."""
    if parameters.get(id_name):
        return integer(id_name, parameters[id_name]), ""
    if parameters.get(client_id_name):
        return None, parameters[client_id_name]
    raise VenueError(-1102, f"Param '{client_id_name}' or '{id_name}' must be sent, but both were empty/null!")


def in_period(time_ms: int, parameters: dict[str, str], now: int) -> bool:
    return int(parameters.get("startTime", "0")) <= time_ms <= int(parameters.get("endTime", str(now)))


def page(rows: list[Any], parameters: dict[str, str]) -> list[Any]:
    """Return the first rows where a start was given, else the last ones, as Binance pages."""
    limit = min(integer("limit", parameters.get("limit", "500")), 1000)
    has_start = any(name in parameters for name in ("startTime", "fromId", "orderId", "algoId"))
    return rows[:limit] if has_start else rows[-limit:]
