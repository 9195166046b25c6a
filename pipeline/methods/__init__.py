"""What a model may learn by beside its labels: one paper, one file."""
