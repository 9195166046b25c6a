"""What the last stage reports: numbers, curves, the page, the closing table."""
