"""From a teacher's answers to pseudo-labels."""
