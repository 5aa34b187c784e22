"""Masks: the published constants, checked on motion whose occlusions are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import ShapeMismatch, UsageError
from steadyframe.runtime.motion.flow import Flow, FlowEstimator, FlowOptions
from steadyframe.runtime.motion.masks import disocclusion, long_term, motion_boundary, reliable, reliable_smooth


def pair(backward: np.ndarray, forward: np.ndarray) -> tuple[Flow, Flow]:
    return Flow(backward.astype(np.float32)), Flow(forward.astype(np.float32), forward=True)


def square_motion(shift: int) -> tuple[Flow, Flow, np.ndarray]:
    """A 40-pixel square moves right over a still ground: exact flows, and what it uncovers."""
    backward, forward = np.zeros((100, 160, 2)), np.zeros((100, 160, 2))
    forward[30:70, 50:90, 0] = shift  # where the square was
    backward[30:70, 50 + shift : 90 + shift, 0] = -shift  # where it is now
    uncovered = np.zeros((100, 160), bool)
    uncovered[30:70, 50 : 50 + shift] = True
    return *pair(backward, forward), uncovered


def test_constant_motion_is_reliable_but_for_what_enters_the_frame() -> None:
    flow, opposite = pair(np.full((20, 30, 2), (-3, 0)), np.full((20, 30, 2), (3, 0)))
    mask = reliable(flow, opposite)
    assert mask[:, 3:].all()
    assert not mask[:, :3].any()


@pytest.mark.parametrize("shift", [2, 5, 12])
def test_a_moving_square_uncovers_exactly_what_was_behind_it(shift: int) -> None:
    flow, opposite, uncovered = square_motion(shift)
    assert np.array_equal(disocclusion(flow, opposite), uncovered)


def test_the_edge_of_a_moving_square_is_a_boundary_one_pixel_wide() -> None:
    flow, _, _ = square_motion(5)
    square = np.zeros((100, 160), np.uint8)
    square[30:70, 55:95] = 1
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    edge = cv2.dilate(square, cross) != square
    inner_edge = cv2.erode(square, cross) != square
    assert np.array_equal(motion_boundary(flow), edge | inner_edge)


def test_constants_are_those_of_the_paper() -> None:
    for error, expected in ((0.70, False), (0.72, True)):  # 0.5 + 0.01 * ... for vectors of nearly no length
        flow, opposite = pair(np.full((8, 8, 2), (0.001, 0)), np.full((8, 8, 2), (error, 0)))
        assert disocclusion(flow, opposite)[2:-2, 2:-2].all() == expected
    slope = (np.arange(16)[None, :, None] - 8) * np.ones((16, 1, 2)) * (1, 0)
    for rise, expected in ((0.044, False), (0.046, True)):  # 0.002 = 0.0447^2, plus 1 % of the squared length
        vectors = slope * rise
        assert motion_boundary(Flow(vectors.astype(np.float32)))[4, 8] == expected


def test_zoom_and_rotation_are_reliable_inside() -> None:
    y, x = np.mgrid[:180, :320].astype(np.float32)
    for factor in (1.03, 0.97):
        there = np.stack((x - 160, y - 90), -1) * (1 / factor - 1)
        back = np.stack((x - 160, y - 90), -1) * (factor - 1)
        assert reliable(*pair(there, back))[20:-20, 20:-20].all()
    angle = np.deg2rad(1.5)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centred = np.stack((x - 160, y - 90), -1)
    assert reliable(*pair(centred @ turn - centred, centred @ turn.T - centred))[20:-20, 20:-20].all()


@pytest.mark.parametrize("shift", [8, 14])
def test_measured_flow_finds_the_uncovered_strip(shift: int) -> None:
    """With DIS instead of exact flow: what is uncovered is found, and far from the square nothing is."""
    random = np.random.default_rng(1)
    ground = cv2.GaussianBlur(random.integers(0, 256, (180, 320), np.uint8), (0, 0), 2)
    ground = cv2.normalize(ground, None, 0, 200, cv2.NORM_MINMAX)
    thing = cv2.normalize(np.ascontiguousarray(ground[::-1, ::-1]), None, 40, 255, cv2.NORM_MINMAX)
    frames = []
    for left in (120, 120 + shift):
        frame = ground.copy()
        frame[60:120, left : left + 60] = thing[60:120, 120:180]
        frames.append(frame)
    estimator = FlowEstimator(FlowOptions("medium"))
    estimator.step(frames[0])
    flows = estimator.step(frames[1])
    assert flows is not None
    mask = reliable(flows.backward, flows.forward)
    uncovered = np.zeros((180, 320), bool)
    uncovered[60:120, 120 : 120 + shift] = True
    core = cv2.erode(uncovered.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert (~mask)[core].mean() > 0.8
    far = cv2.dilate(uncovered.astype(np.uint8), np.ones((41, 41), np.uint8)) == 0
    far[50:130, 100:210] = False
    assert mask[far].mean() > 0.97


def test_smooth_mask_grows_what_is_uncovered() -> None:
    flow, opposite, uncovered = square_motion(6)
    soft = reliable_smooth(flow, opposite)
    assert soft.dtype == np.float32
    assert soft.min() == 0
    assert soft.max() == 1
    assert not soft[uncovered].any()
    assert soft[50, 49] < 0.5  # one pixel outside the strip; 1 without the smoothing
    assert np.allclose(soft[:20], 1)


def test_long_term_weights_prefer_the_nearest_frame() -> None:
    near = np.float32([[1, 0, 0, 0.25]])
    middle = np.float32([[1, 1, 0, 0.5]])
    far = np.float32([[1, 1, 1, 1]])
    weights = long_term([near, middle, far])
    assert np.allclose(weights, [[[1, 0, 0, 0.25]], [[0, 1, 0, 0.25]], [[0, 0, 1, 0.25]]])
    random = np.random.default_rng(0)
    binary = [random.integers(0, 2, (9, 9)).astype(np.float32) for _ in range(4)]
    assert np.sum(long_term(binary), axis=0).max() <= 1
    assert long_term([]) == []
    with pytest.raises(ShapeMismatch):
        long_term([near, middle[:, :2]])


def test_a_mask_needs_two_flows_of_one_size_and_both_ways() -> None:
    flow = Flow.constant((4, 4))
    with pytest.raises(UsageError):
        reliable(flow, flow)
    with pytest.raises(ShapeMismatch):
        reliable(flow, Flow(np.zeros((4, 5, 2), np.float32), forward=True))
