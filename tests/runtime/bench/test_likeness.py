"""Likeness sees what melts where things move, and nothing else."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from steadyframe.runtime.bench.likeness import Likeness, local_correlation, moving_mask, sharpness
from steadyframe.runtime.errors import ShapeMismatch


def texture(seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (120, 160), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


def test_the_same_is_alike_and_something_else_is_not():
    one = texture()
    assert local_correlation(one, one).min() > 0.999
    assert local_correlation(one, one // 2 + 40).mean() > 0.9  # contrast and brightness do not count
    assert abs(local_correlation(one, texture(seed=1)).mean()) < 0.2
    with pytest.raises(ShapeMismatch):
        local_correlation(one, one[:-1])


def test_only_what_moved_is_looked_at():
    still = texture()
    moved = still.copy()
    moved[40:60, 60:80] = 255
    mask = moving_mask([still, still, moved])
    assert mask[50, 70]
    assert mask[50, 50]  # grown
    assert not mask[5, 5]
    assert not moving_mask([still, still]).any()


def test_a_melted_thing_counts_where_it_moves_and_still_frames_do_not():
    frame = texture()
    off = cv2.cvtColor(texture(seed=2), cv2.COLOR_GRAY2BGR)
    melted = off.copy()
    melted[35:70, 50:100] = cv2.GaussianBlur(melted[35:70, 50:100], (0, 0), 8)
    figures = Likeness()
    figures.add(frame, off, off)
    assert math.isnan(figures.mean)
    moved = frame.copy()
    moved[40:65, 55:95] = 255 - moved[40:65, 55:95] // 2
    figures.add(moved, melted, off)
    assert len(figures.likeness) == 1
    assert figures.mean < 0.8
    assert figures.mean_sharpness < 1


def test_blur_is_less_sharp():
    image = texture()
    assert sharpness(cv2.GaussianBlur(image, (0, 0), 2)) < 0.7 * sharpness(image)
