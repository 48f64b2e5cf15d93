"""Figures beside claims: `python -m benchmarks`."""
