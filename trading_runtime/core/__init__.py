"""The pure core: no clock, no randomness, no network, no environment, no file, no global state.

Time arrives as an argument and every result is a function of the arguments alone. Only the standard library
and numpy may be imported here; a contract in ``pyproject.toml`` holds that.
"""
