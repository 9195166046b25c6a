"""Lineage: students that learn from labels and from earlier models."""

from pipeline.running import ending  # noqa: F401 (its exit handler has to be the first)
