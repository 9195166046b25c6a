"""What a model may learn by besides its labels: one paper, one file."""
