"""Settings of all tests. Examples have no deadline: speed is measured in ``benchmarks/``, never asserted in a test."""

from hypothesis import settings

settings.register_profile("project", deadline=None)
settings.load_profile("project")
