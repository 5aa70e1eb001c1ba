"""Suites: fixed lists of test episodes, so that two figures mean the same."""

from sfvgen_envs.suites.suite import EpisodeSpec, Suite, available

__all__ = ["EpisodeSpec", "Suite", "available"]
