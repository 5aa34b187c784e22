"""Parity: is the exported network the trained one? Comparison, report, and the first node that differs."""
