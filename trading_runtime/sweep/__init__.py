"""Sweeps: many parameter sets and periods of one backtest, the same bytes on a laptop and on a cluster.

    settings → plan (spec, data) → shards (cells, written once) → gather (facts, root digest, tables)

No cloud or exchange library is imported here; results and data go through ``objects``.
"""
