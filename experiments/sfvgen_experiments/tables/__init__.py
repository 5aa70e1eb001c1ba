"""The paper's four tables, made again: what it published, what is asked of us, and how both are shown side by side."""
