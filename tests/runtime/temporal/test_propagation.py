"""Propagation: along the motion, without pulses, and honest where nothing is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import ShapeMismatch
from steadyframe.runtime.motion.flow import Flow, FlowPair
from steadyframe.runtime.temporal.motion_path import MotionPath
from steadyframe.runtime.temporal.propagation import Propagator
from steadyframe.runtime.temporal.scene_change import MotionAnalysis

SIZE = (24, 32)


def step(dx: float = 0.0, *, lost: slice | None = None, new: slice | None = None) -> MotionAnalysis:
    """The content moves right by `dx`; the columns `lost` cannot be trusted; `new` were not there before."""
    grey = np.zeros(SIZE, np.uint8)
    backward = Flow.constant(SIZE, -dx)
    reliability = np.ones(SIZE, np.float32)
    if lost is not None:
        reliability[:, lost] = 0
    appeared = np.zeros(SIZE, np.float32)
    if new is not None:
        reliability[:, new], appeared[:, new] = 0, 1
    pair = FlowPair(backward, Flow(-backward.vectors, forward=True), grey, grey)
    return MotionAnalysis(pair, reliability, 0.0, cut=False, appeared=appeared)


def flat(value: float) -> np.ndarray:
    return np.full((*SIZE, 2), value, np.float32)


def ramp() -> np.ndarray:
    x = np.broadcast_to(np.arange(SIZE[1], dtype=np.float32)[None, :, None], (*SIZE, 2))
    return np.ascontiguousarray(x)


def keyframe(propagator: Propagator, at: MotionAnalysis, fresh: np.ndarray, key: object = "now") -> np.ndarray:
    propagator.step(at)
    propagator.submit(key)
    propagator.update(key, fresh)
    return shown(propagator)


def between(propagator: Propagator, at: MotionAnalysis) -> np.ndarray:
    propagator.step(at)
    return shown(propagator)


def shown(propagator: Propagator) -> np.ndarray:
    value = propagator.show()
    assert value is not None
    return value


def test_the_first_result_is_shown_as_it_is() -> None:
    propagator = Propagator()
    assert np.array_equal(keyframe(propagator, MotionAnalysis(), ramp()), ramp())


def test_between_keyframes_the_result_moves_with_the_image() -> None:
    propagator = Propagator()
    keyframe(propagator, MotionAnalysis(), ramp())
    for count in (1, 2, 3):
        value = between(propagator, step(1.5))
        assert np.allclose(value[:, 6:], (ramp() - 1.5 * count)[:, 6:], atol=1e-3)


def test_a_long_path_blurs_once() -> None:
    """Eight half-pixel steps of a fine stripe keep the contrast of one; eight single warps would not."""
    stripes = ramp() % 4
    propagator = Propagator()
    keyframe(propagator, MotionAnalysis(), stripes)
    for _ in range(7):
        value = between(propagator, step(0.5))
    once = MotionPath(*_one_step(3.5)).propagate(stripes)
    assert np.allclose(value[:, 8:-2], once[:, 8:-2], atol=0.02)


def _one_step(dx: float) -> tuple[Flow, np.ndarray]:
    return Flow.constant(SIZE, -dx), np.ones(SIZE, np.float32)


@pytest.mark.parametrize("fade", [1, 2, 4, 8])
def test_a_correction_comes_in_equal_parts(fade: int) -> None:
    propagator = Propagator(fade_frames=fade)
    keyframe(propagator, MotionAnalysis(), flat(100))
    values = [100.0, float(keyframe(propagator, step(), flat(140))[5, 5, 0])]
    values += [float(between(propagator, step())[5, 5, 0]) for _ in range(9)]
    steps = np.diff(values)
    assert np.allclose(steps[:fade], 40 / fade, atol=1e-3)
    assert np.allclose(steps[fade:], 0, atol=1e-3)


def test_what_appears_on_a_keyframe_takes_the_fresh_result_at_once() -> None:
    propagator = Propagator(fade_frames=4)
    keyframe(propagator, MotionAnalysis(), flat(100))
    value = keyframe(propagator, step(new=slice(0, 8)), flat(140))
    assert np.allclose(value[:, :8], 140)
    assert np.allclose(value[:, 8:], 110)
    assert np.allclose(between(propagator, step())[:, 8:], 120)


def test_what_was_lost_since_the_last_keyframe_is_corrected_twice_as_fast() -> None:
    """It was shown wrong already, so that a correction at once would be a pulse."""
    propagator = Propagator(fade_frames=4)
    keyframe(propagator, MotionAnalysis(), flat(100))
    between(propagator, step(lost=slice(0, 8)))
    between(propagator, step())  # reliable again, but not since the last keyframe
    value = keyframe(propagator, step(), flat(140))
    assert np.allclose(value[:, :7], 120)
    assert np.allclose(value[:, 9:], 110)
    value = between(propagator, step())
    assert np.allclose(value[:, :7], 140)
    assert np.allclose(value[:, 9:], 120)
    assert np.allclose(between(propagator, step())[:, :7], 140)


def test_with_a_short_fade_what_is_unreliable_takes_the_fresh_result_at_once() -> None:
    """The mode blend: nothing was shown wrong for longer than one frame."""
    propagator = Propagator(fade_frames=2)
    keyframe(propagator, MotionAnalysis(), flat(100))
    value = keyframe(propagator, step(lost=slice(0, 8)), flat(140))
    assert np.allclose(value[:, :8], 140)
    assert np.allclose(value[:, 8:], 120)


def test_a_new_keyframe_during_a_fade_goes_on_from_what_is_shown() -> None:
    propagator = Propagator(fade_frames=4)
    keyframe(propagator, MotionAnalysis(), flat(100))
    keyframe(propagator, step(), flat(140))  # shows 110
    value = keyframe(propagator, step(), flat(90))
    assert np.allclose(value, 110 - 20 / 4)


def test_noise_is_averaged_by_a_short_fade() -> None:
    """The mode blend: every frame a keyframe, half of each difference taken."""
    random = np.random.default_rng(0)
    propagator = Propagator(fade_frames=2)
    raw, steady = [], []
    for count in range(60):
        fresh = flat(128) + random.normal(0, 10, (*SIZE, 2)).astype(np.float32)
        raw.append(fresh)
        steady.append(keyframe(propagator, step() if count else MotionAnalysis(), fresh, key=count))
    flicker = np.square(np.diff(raw, axis=0)).mean()
    # Of white noise, an average with weight 1/2 leaves the share 1/6 of the flicker.
    assert np.square(np.diff(steady[5:], axis=0)).mean() == pytest.approx(flicker / 6, rel=0.1)


def test_a_late_result_is_brought_along_the_path() -> None:
    propagator = Propagator(fade_frames=1)
    keyframe(propagator, MotionAnalysis(), ramp(), key="first")
    propagator.step(step(1.0))
    propagator.submit("late")
    shown(propagator)
    between(propagator, step(1.0))
    propagator.step(step(1.0))
    propagator.update("late", ramp() * 10)  # as seen two frames ago
    assert np.allclose(shown(propagator)[:, 4:], ((ramp() - 2) * 10)[:, 4:], atol=1e-2)


def test_a_late_result_does_not_make_the_fade_jump() -> None:
    propagator = Propagator(fade_frames=8)
    keyframe(propagator, MotionAnalysis(), flat(100))
    values = [float(keyframe(propagator, step(), flat(180), key="a")[5, 5, 0])]
    propagator.step(step())
    propagator.submit("b")
    values.append(float(shown(propagator)[5, 5, 0]))
    values += [float(between(propagator, step())[5, 5, 0]) for _ in range(2)]
    propagator.step(step())
    propagator.update("b", flat(180))
    values.append(float(shown(propagator)[5, 5, 0]))
    values += [float(between(propagator, step())[5, 5, 0]) for _ in range(9)]
    steps = np.diff(values)
    assert steps.max() <= 10.001
    assert steps.min() >= -1e-3
    assert values[-1] == pytest.approx(180)


def test_late_unreliable_places_are_known_where_the_path_is() -> None:
    """Lost before the frame was submitted: twice as fast. Lost after it: the late result helps little."""
    propagator = Propagator(fade_frames=4)
    keyframe(propagator, MotionAnalysis(), flat(100), key="first")
    propagator.step(step(lost=slice(0, 8)))
    propagator.submit("late")
    shown(propagator)
    propagator.step(step(lost=slice(20, 32)))
    propagator.update("late", flat(140))
    value = shown(propagator)
    assert np.allclose(value[:, :7], 120)
    assert np.allclose(value[:, 9:], 110)
    propagator.step(step())
    propagator.submit("next")
    propagator.update("next", flat(110))
    for _ in range(2):
        value = shown(propagator)
        propagator.step(step())
    assert np.allclose(value[:, 21:], 110)


def test_a_cut_forgets_everything_and_old_results() -> None:
    propagator = Propagator()
    keyframe(propagator, MotionAnalysis(), flat(100), key="before")
    propagator.step(step())
    propagator.submit("submitted before the cut")
    shown(propagator)
    propagator.step(MotionAnalysis())
    assert propagator.show() is None
    propagator.update("submitted before the cut", flat(1))
    assert propagator.show() is None
    propagator.step(step(2.0))
    propagator.submit("after")
    propagator.step(step(2.0))
    propagator.update("after", ramp())
    assert np.allclose(shown(propagator)[:, 3:], (ramp() - 2)[:, 3:], atol=1e-3)


def test_only_the_results_that_are_waited_for_are_kept() -> None:
    propagator = Propagator(fade_frames=4)
    keyframe(propagator, MotionAnalysis(), flat(100), key=0)
    for key in range(1, 50):
        propagator.step(step())
        propagator.submit(key)
        shown(propagator)
    propagator.update(3, flat(0))  # long given up
    propagator.update(49, flat(140))
    assert np.allclose(shown(propagator), 110)
    propagator.update(48, flat(0))  # older than one that was taken
    assert np.allclose(between(propagator, step()), 120)


def test_results_of_another_shape_are_refused() -> None:
    propagator = Propagator()
    keyframe(propagator, MotionAnalysis(), flat(100))
    with pytest.raises(ShapeMismatch):
        keyframe(propagator, step(), np.zeros((4, 4, 2), np.float32))


def test_small_results_are_propagated_by_larger_flows() -> None:
    propagator = Propagator()
    small = ramp()[::2, ::2]
    keyframe(propagator, MotionAnalysis(), small)
    assert np.allclose(between(propagator, step(4.0))[:, 3:], (small - 4)[:, 3:], atol=1e-3)


def test_images_are_propagated_as_images_to_within_their_rounding() -> None:
    # Smooth ones: images are sampled with cubic weights, other results with bilinear ones, which blur what is fine.
    random = np.random.default_rng(3)
    noise = [random.integers(0, 256, (*SIZE, 3), np.uint8) for _ in range(3)]
    results = [cv2.GaussianBlur(each, (0, 0), 6) for each in noise]
    propagators = {np.uint8: Propagator(fade_frames=4), np.float32: Propagator(fade_frames=4)}
    for number in range(9):
        at = step(0.25 * number, lost=slice(3, 9), new=slice(20, 24)) if number else MotionAnalysis()
        found = {}
        for dtype, propagator in propagators.items():
            propagator.step(at)
            if number % 3 == 0:
                propagator.submit(number)
            if number % 3 == 1:  # late by a frame
                propagator.update(number - 1, results[number // 3].astype(dtype))
            found[dtype] = propagator.show()
        if number:
            assert found[np.uint8].dtype == np.uint8
            assert np.abs(found[np.uint8] - found[np.float32]).max() <= 1.6
