"""Client order ids: pure, short, in the exchange's alphabet, and readable back."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as generate

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.orders import (
    ORDER_ID_LENGTH_MAX,
    OrderIdParts,
    client_order_id,
    order_owner,
    parse_client_order_id,
)

# https://developers.binance.com, spot REST: newClientOrderId
BINANCE = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
NAMES = generate.text(min_size=1, max_size=30)
LEGS = generate.from_regex(r"[a-z0-9_]{1,10}", fullmatch=True)
SLOTS = generate.integers(0, 2**32 - 1).map(lambda seconds: seconds * 1000)


@given(NAMES, NAMES, NAMES, SLOTS, LEGS)
def test_any_id_is_short_legal_and_readable_back(account: str, strategy: str, symbol: str, slot: int, leg: str) -> None:
    """Whatever the names, the id fits the exchange and gives owner, slot and leg back."""
    order_id = client_order_id(account, strategy, symbol, slot, leg)

    assert len(order_id) <= ORDER_ID_LENGTH_MAX
    assert BINANCE.fullmatch(order_id)
    assert OrderIdParts(order_owner(account, strategy, symbol), slot, leg) == parse_client_order_id(order_id)
    assert order_id == client_order_id(account, strategy, symbol, slot, leg)


@given(generate.lists(generate.tuples(NAMES, NAMES, NAMES, SLOTS, LEGS), min_size=2, max_size=2, unique=True))
def test_different_orders_have_different_ids(orders: list[tuple[str, str, str, int, str]]) -> None:
    """Account, strategy, symbol, slot and leg each make a difference."""
    assert client_order_id(*orders[0]) != client_order_id(*orders[1])


def test_the_id_is_fixed_for_ever() -> None:
    """An id at an exchange must be found again by every later version."""
    assert (
        client_order_id("main", "SmaCross", "BTC/USDT", 1_704_067_200_000, "target")
        == "tr-gqhqv04o6eq5-65920080-target"
    )


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_no_hash_seed_changes_an_id(seed: str) -> None:
    """Another process with another PYTHONHASHSEED makes the same id."""
    program = "from trading_runtime.core.orders import client_order_id as f; print(f('a', 'b', 'c', 60_000, 'x'))"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )

    assert client_order_id("a", "b", "c", 60_000, "x") == printed.stdout.strip()


@pytest.mark.parametrize("leg", ["", "Entry", "entry-1", "a" * 11, "ä", "entry\n", " entry"])
def test_a_leg_outside_the_alphabet_is_refused(leg: str) -> None:
    """A leg is 1 to 10 of a-z, 0-9 and _."""
    with pytest.raises(StrategyError, match="leg"):
        client_order_id("a", "b", "c", 0, leg)


@pytest.mark.parametrize("slot", [1, 1_500, -1000, 2**32 * 1000])
def test_a_slot_between_seconds_is_refused(slot: int) -> None:
    """Slots are bar closes: whole seconds between 1970 and 2106."""
    with pytest.raises(StrategyError, match="slot"):
        client_order_id("a", "b", "c", slot, "x")


FOREIGN = [
    "",
    "web_123",
    "tr-",
    "tr-8unu4exw9jbc-65920080",
    "TR-8unu4exw9jbc-65920080-entry",
    "tr-8unu4exw9jbc-65920080-Entry",
    "tr-short-65920080-entry",
    "tr-8unu4exw9jbc-65920080-entry\n",
    "xtr-8unu4exw9jbc-65920080-entry",
    "tr-8unu4exw9jbc--entry",
    "tr-8unu4exw9jbc-065920080-entry",
]


@pytest.mark.parametrize("order_id", FOREIGN)
def test_an_id_of_somebody_else_is_nobodys(order_id: str) -> None:
    """What this runtime did not make is told apart from what it did."""
    assert parse_client_order_id(order_id) is None


@given(
    generate.text(max_size=40) | generate.from_regex(r"tr-[0-9a-z]{12}-[0-9a-f]{1,8}-[a-z0-9_]{1,10}", fullmatch=True)
)
def test_whatever_parses_could_have_been_made_here(order_id: str) -> None:
    """Slot and leg of a parsed id make the same text again."""
    parts = parse_client_order_id(order_id)
    if parts is not None:
        made = client_order_id("a", "b", "c", parts.slot, parts.leg)

        assert order_id == made.replace(order_owner("a", "b", "c"), parts.owner)
