"""Hypothesis draws the same examples in every run; `pytest --hypothesis-profile=explore` looks for new ones."""

from hypothesis import settings

settings.register_profile("explore", derandomize=False)
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
