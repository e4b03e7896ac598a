"""Preflight: everything a start needs, asked before it is needed, line by line. Sends no order.

    configuration · strategy · code · live gate                   here.py
    store · state · control · lease                               kept.py
    exchange · markets · bars                                     market.py
    account · key rights · fees · cash · open orders · book       funds.py
    notifications                                                 here.py
    artifact (validate only)                                      artifact.py

Every line is there whatever became of the others; one that cannot be asked says what it waits for. ``preflight`` writes
one thing, and only into a store that exists: the document ``preflight/<account>``, which proves that it can be written
to. It is the same each time and nobody reads it. ``validate`` writes nothing.
"""

from trading_runtime.cycle.preflight.check import Check, exit_code
from trading_runtime.cycle.preflight.run import NAMES, VALIDATE_NAMES, nothing_checked, preflight, validate

__all__ = ["NAMES", "VALIDATE_NAMES", "Check", "exit_code", "nothing_checked", "preflight", "validate"]
