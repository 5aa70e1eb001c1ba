"""Hydra configurations: one folder a group, one file a choice."""
