"""A learned video world that remembers, offered as an environment and searched by a planner."""

__version__ = "0.1.0"
