"""Measurements of speed, each a `main()` that prints a small table and returns its figures."""
