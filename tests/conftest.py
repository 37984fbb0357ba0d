"""Property-based tests try the same cases every time: a failure is of the change, not of the day."""

from hypothesis import settings

settings.register_profile("same-every-time", derandomize=True, database=None, deadline=None)
settings.load_profile("same-every-time")
