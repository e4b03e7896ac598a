"""Market data: reading any candle file, judging it, repairing it, storing it, making it and fetching it.

Nothing here knows about strategies, orders or engines; what leaves this package is ``core.bars.Bars`` and a
manifest.
"""
