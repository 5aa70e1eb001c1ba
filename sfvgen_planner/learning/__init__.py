"""Training: the slow world, the codec, the judge, and the slow-fast loop."""
