"""Hypothesis draws the same examples in every run; `pytest --hypothesis-profile=explore` looks for new ones."""

from hypothesis import settings

settings.register_profile("explore", derandomize=False, deadline=None)
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
