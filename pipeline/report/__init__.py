"""What the last stage tells: numbers, curves, pictures, the closing table."""
