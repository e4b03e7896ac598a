#!/bin/sh
# Make the candles that backtest.json reads: four synthetic years of 4h bars, the same bytes on every machine.
# Run at the root of the repository. AVAX is listed in October 2022 only.
set -eu
trading-runtime data synth --symbol BTC/USDT --timeframe 4h --start 2021-01-01 --rows 8766 --out data/live-pool
trading-runtime data synth --symbol ETH/USDT --symbol SOL/USDT --symbol XRP/USDT --symbol LINK/USDT --symbol ADA/USDT \
    --symbol DOGE/USDT --symbol LTC/USDT --timeframe 4h --start 2021-01-01 --rows 8766 --start-price 100 --out data/live-pool
trading-runtime data synth --symbol AVAX/USDT --timeframe 4h --start 2022-10-01 --rows 4938 --start-price 100 --out data/live-pool
