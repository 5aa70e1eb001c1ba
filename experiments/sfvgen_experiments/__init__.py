"""The composition root: the `sfvgen` command, logging, progress bars, files."""
