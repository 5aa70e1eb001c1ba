"""Questions asked of a made-up world, answered in minutes."""
