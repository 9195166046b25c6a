"""Models that answer together, as one."""
