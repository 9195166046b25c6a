"""Lineage: students that learn from labels and from earlier models."""
