"""Measures: of videos, of memory, of plans, and how sure a mean is."""
