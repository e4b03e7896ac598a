"""Settings of all tests. Examples have no deadline: speed is measured in ``benchmarks/``, never asserted in a test."""

import signal

from hypothesis import settings

settings.register_profile("project", deadline=None)
settings.load_profile("project")

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that: interruptions are tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
