"""Exchanges: the port, and what implements it: ccxt for real ones, a simulated one for paper and dry runs.

Decisions, retries around an order and the book are not made here: an adapter says what the exchange said.
"""
