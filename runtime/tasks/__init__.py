"""Tasks: what a network is used for, one file or folder each, found by entry point.

The contract is in `task`, the look-up in `registry`.
"""
