"""Telling people: what happened goes to each channel once, and no channel can change what is traded.

    port.py      Message, Delivery and the Notifier protocol
    telegram.py  the Telegram Bot API
    log.py       a structured log line
    deliver.py   a message to all channels; never raises
    dry_run.py   channels that a dry run leaves alone

Records keep hash, length and delivery of a message, never its text.
"""
