"""Temporal stages: what is shown between two runs of the network, and how steady it is from frame to frame."""
