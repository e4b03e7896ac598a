"""The contract of the exchange port, run over every implementation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ccxt_world import PERPETUAL, SPOT, VenueDriver, World
from exchange_contract import Contract, Driver, contract
from simulated_world import SimulatedDriver

from trading_runtime.exchanges.port import Exchange

Opened = tuple[Exchange, Driver]


@contextmanager
def binance(symbol: str) -> Iterator[Opened]:
    world = World()
    with world.server() as server:
        exchange = world.over_ccxt(server, symbol)
        yield exchange, VenueDriver(world, symbol)
        exchange.close()


@contextmanager
def bitfinex(symbol: str) -> Iterator[Opened]:
    world = World()
    with world.bitfinex() as exchange:
        yield exchange, VenueDriver(world, symbol)


@contextmanager
def venue(symbol: str) -> Iterator[Opened]:
    world = World()
    yield world.in_process(symbol), VenueDriver(world, symbol)


@contextmanager
def simulated(symbol: str) -> Iterator[Opened]:
    driver = SimulatedDriver(symbol)
    yield driver.exchange, driver


EXCHANGES = {
    "ccxt over Binance, spot": (binance, SPOT),
    "ccxt over Binance, perpetual": (binance, PERPETUAL),
    "ccxt over Bitfinex, spot": (bitfinex, SPOT),
    "the venue in process, spot": (venue, SPOT),
    "the venue in process, perpetual": (venue, PERPETUAL),
    "simulated, spot": (simulated, SPOT),
    "simulated, perpetual": (simulated, PERPETUAL),
}


@pytest.mark.parametrize("name", EXCHANGES)
@pytest.mark.parametrize("part", contract, ids=lambda part: part.__name__)
def test_every_exchange_keeps_the_contract(part: Contract, name: str) -> None:
    opened, symbol = EXCHANGES[name]
    with opened(symbol) as (exchange, driver):
        part(exchange, driver)
