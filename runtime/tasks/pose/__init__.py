"""Pose: people and their joints, found, followed and smoothed."""
