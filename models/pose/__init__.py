"""Pose (Tompson et al. 2014): part detector, spatial model, their training and measures."""
