"""Measure a bundle on a video: speed, age, flicker, fidelity and jitter of every steady mode."""
