"""Started by hand on one machine: ``python trading_runtime/local/backtest.py --config
trading_runtime/local/local.json``.
"""
