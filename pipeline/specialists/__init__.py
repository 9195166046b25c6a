"""Specialists for classes that a model confuses, and experts for parts of the classes."""
