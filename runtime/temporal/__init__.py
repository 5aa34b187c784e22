"""Temporal stages: the output between two runs of the network, and its steadiness from frame to frame."""
