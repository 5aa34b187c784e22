"""Steady from frame to frame: flow, masks, warps, keyframes, and the measure of flicker."""
