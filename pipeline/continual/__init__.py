"""New tasks on top of a model."""
