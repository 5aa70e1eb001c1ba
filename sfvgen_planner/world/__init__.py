"""The slow model: codec, conditions, denoisers, diffusion, heads."""
