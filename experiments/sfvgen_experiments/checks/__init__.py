"""Three open checks of a memory: its parts alone, how much fits in, and what it is worth on scenes of other looks."""
