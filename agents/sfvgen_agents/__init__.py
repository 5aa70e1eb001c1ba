"""Agents: experts, random, language, and adapters for learned policies."""
