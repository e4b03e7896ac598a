"""Data and results of sweeps: objects under keys, written once, in a folder, an S3-compatible store, Google Cloud
Storage or memory.

The port and what is built on it lie beside the implementations. Nothing here knows sweeps, strategies or candles.
"""
