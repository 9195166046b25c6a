"""How a stage runs, never what it computes: entry, signals, progress, interruptions."""
