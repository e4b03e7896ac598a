"""What a run says about itself while it works: structured log lines without secrets.

    log.py       EventLog: one JSON object (or one readable line) for each event, on standard error
    redact.py    secrets out of any text

Telemetry fails open: nothing here raises into the work it reports on, and nothing here decides anything.
"""
