"""Warp: bilinear, at any resolution, and honest about its borders."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.errors import ShapeMismatch, UsageError
from steadyframe.runtime.motion.flow import Flow
from steadyframe.runtime.motion.warp import warp, warp_points


def ramp(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack((x, y), -1)


def test_warp_samples_where_the_flow_points() -> None:
    image = ramp(20, 30)
    warped = warp(image, Flow.constant((20, 30), 2.5, -1.25))
    inner = warped.pixels[2:, :-3]
    assert np.allclose(inner, (image + np.float32([2.5, -1.25]))[2:, :-3], atol=1e-4)


def test_valid_is_false_exactly_where_the_flow_leaves_the_image() -> None:
    valid = warp(ramp(20, 30), Flow.constant((20, 30), 3, -1.5)).valid
    expected = np.ones((20, 30), bool)
    expected[:, 27:] = False
    expected[:2] = False
    assert np.array_equal(valid, expected)


def test_a_still_flow_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    warped = warp(image, Flow.constant((17, 23)))
    assert np.array_equal(warped.pixels, image)
    assert warped.pixels.dtype == np.uint8
    assert warped.valid.all()


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 2), (20, 30, 3)])
def test_shape_and_dtype_are_kept(shape: tuple[int, ...]) -> None:
    for dtype in (np.uint8, np.float32):
        warped = warp(np.zeros(shape, dtype), Flow.constant((20, 30), 1))
        assert warped.pixels.shape == shape
        assert warped.pixels.dtype == dtype


def test_reduced_data_is_warped_by_the_scaled_flow() -> None:
    small = ramp(90, 160)
    warped = warp(small, Flow.constant((180, 320), 4, 2))  # 4 px of 320 are 2 px of 160
    assert np.allclose(warped.pixels[:-3, :-3], (small + np.float32([2, 1]))[:-3, :-3], atol=1e-4)


def test_a_forward_flow_and_a_list_of_numbers_are_refused() -> None:
    with pytest.raises(UsageError):
        warp(ramp(4, 4), Flow(np.zeros((4, 4, 2), np.float32), forward=True))
    with pytest.raises(ShapeMismatch):
        warp(np.zeros(4, np.float32), Flow.constant((4, 4)))


def test_points_follow_the_forward_flow_in_frame_pixels() -> None:
    flow = Flow(Flow.constant((180, 320), 2, -1).vectors, forward=True)
    points = np.float32([[100, 100], [639.5, 10], [np.nan, np.nan]])
    warped = warp_points(points, flow, (640, 360))
    assert np.allclose(warped[:2], [[104, 98], [643.5, 8]], atol=1e-4)
    assert np.isnan(warped[2]).all()
    assert warp_points(np.zeros((0, 2), np.float32), flow, (640, 360)).shape == (0, 2)
    with pytest.raises(UsageError):
        warp_points(points, Flow.constant((180, 320)), (640, 360))


def test_points_and_images_move_alike() -> None:
    """A blob warped backwards as an image and forwards as a point ends at the same place."""
    y, x = np.mgrid[:180, :320].astype(np.float32)
    blob = np.exp(-((x - 120) ** 2 + (y - 70) ** 2) / 18).astype(np.float32)
    warped = warp(blob, Flow.constant((90, 160), -3.5, 1.25)).pixels
    centre = np.float32([(warped * x).sum(), (warped * y).sum()]) / warped.sum()
    forward = Flow(Flow.constant((90, 160), 3.5, -1.25).vectors, forward=True)
    assert np.allclose(warp_points(np.float32([[120, 70]]), forward, (320, 180))[0], centre, atol=0.05)
