"""Backtests: bars in, fills out, everything else derived from the fills.

Imports no exchange, store or cluster library.
"""
