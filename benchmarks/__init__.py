"""Speed and memory, measured beside a reference in the same run: ``python -m benchmarks`` (or ``make bench``)."""
