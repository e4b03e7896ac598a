"""A small real exchange for tests: a model in memory, REST servers on loopback over it, and a port adapter over it.

    model ◄── port            in process, on a virtual clock, for thousands of simulated cycles
          ◄── binance_server  HTTP as unmodified ccxt speaks it (spot, its savings, and USD-M)
          ◄── bitfinex_server the same for the part of Bitfinex v2 that is needed

Nothing in here knows the code under test, except ``port``, which implements its Exchange.
"""
