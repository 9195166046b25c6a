"""A model that learns from another one's answers, to be smaller, or to be one in place of many."""
