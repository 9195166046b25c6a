"""params.yaml read, checked and resolved: `load()` gives the whole of it as frozen objects."""
