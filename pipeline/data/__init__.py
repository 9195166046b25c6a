"""Images on their way in: sources, splits, the store of uint8 arrays, batches."""
