"""Models that learn from labels, and perhaps from a teacher's labels."""
