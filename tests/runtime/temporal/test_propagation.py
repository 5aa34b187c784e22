"""Carrying: along the motion, without pulses, and honest where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.errors import ShapeMismatch
from steadyframe.runtime.motion.flow import Flow, FlowPair
from steadyframe.runtime.temporal.propagation import MotionPath, Propagator
from steadyframe.runtime.temporal.scene_change import MotionAnalysis

SIZE = (24, 32)


def sight(dx: float = 0.0, *, lost: slice | None = None, new: slice | None = None) -> MotionAnalysis:
    """The content moves right by `dx`; the columns `lost` cannot be trusted; `new` were not there before."""
    grey = np.zeros(SIZE, np.uint8)
    backward = Flow.constant(SIZE, -dx)
    trusted = np.ones(SIZE, np.float32)
    if lost is not None:
        trusted[:, lost] = 0
    appeared = np.zeros(SIZE, np.float32)
    if new is not None:
        trusted[:, new], appeared[:, new] = 0, 1
    pair = FlowPair(backward, Flow(-backward.vectors, forward=True), grey, grey)
    return MotionAnalysis(pair, trusted, 0.0, cut=False, appeared=appeared)


def flat(value: float) -> np.ndarray:
    return np.full((*SIZE, 2), value, np.float32)


def ramp() -> np.ndarray:
    x = np.broadcast_to(np.arange(SIZE[1], dtype=np.float32)[None, :, None], (*SIZE, 2))
    return np.ascontiguousarray(x)


def keyframe(carrier: Propagator, at: MotionAnalysis, fresh: np.ndarray, key: object = "now") -> np.ndarray:
    carrier.step(at)
    carrier.ask(key)
    carrier.take(key, fresh)
    return shown(carrier)


def between(carrier: Propagator, at: MotionAnalysis) -> np.ndarray:
    carrier.step(at)
    return shown(carrier)


def shown(carrier: Propagator) -> np.ndarray:
    value = carrier.show()
    assert value is not None
    return value


def test_the_first_result_is_shown_as_it_is() -> None:
    carrier = Propagator()
    assert np.array_equal(keyframe(carrier, MotionAnalysis(), ramp()), ramp())


def test_between_keyframes_the_result_moves_with_the_image() -> None:
    carrier = Propagator()
    keyframe(carrier, MotionAnalysis(), ramp())
    for step in (1, 2, 3):
        value = between(carrier, sight(1.5))
        assert np.allclose(value[:, 6:], (ramp() - 1.5 * step)[:, 6:], atol=1e-3)


def test_a_long_way_blurs_once() -> None:
    """Eight half-pixel steps of a fine stripe keep the contrast of one; eight single warps would not."""
    stripes = ramp() % 4
    carrier = Propagator()
    keyframe(carrier, MotionAnalysis(), stripes)
    for _ in range(7):
        value = between(carrier, sight(0.5))
    once = MotionPath(*_one_step(3.5)).carry(stripes)
    assert np.allclose(value[:, 8:-2], once[:, 8:-2], atol=0.02)


def _one_step(dx: float) -> tuple[Flow, np.ndarray]:
    return Flow.constant(SIZE, -dx), np.ones(SIZE, np.float32)


@pytest.mark.parametrize("fade", [1, 2, 4, 8])
def test_a_correction_comes_in_equal_parts(fade: int) -> None:
    carrier = Propagator(fade_frames=fade)
    keyframe(carrier, MotionAnalysis(), flat(100))
    values = [100.0, float(keyframe(carrier, sight(), flat(140))[5, 5, 0])]
    values += [float(between(carrier, sight())[5, 5, 0]) for _ in range(9)]
    steps = np.diff(values)
    assert np.allclose(steps[:fade], 40 / fade, atol=1e-3)
    assert np.allclose(steps[fade:], 0, atol=1e-3)


def test_what_appears_on_a_keyframe_takes_the_fresh_result_at_once() -> None:
    carrier = Propagator(fade_frames=4)
    keyframe(carrier, MotionAnalysis(), flat(100))
    value = keyframe(carrier, sight(new=slice(0, 8)), flat(140))
    assert np.allclose(value[:, :8], 140)
    assert np.allclose(value[:, 8:], 110)
    assert np.allclose(between(carrier, sight())[:, 8:], 120)


def test_what_was_lost_since_the_last_keyframe_is_corrected_twice_as_fast() -> None:
    """It was shown wrong already, so that a correction at once would be a pulse."""
    carrier = Propagator(fade_frames=4)
    keyframe(carrier, MotionAnalysis(), flat(100))
    between(carrier, sight(lost=slice(0, 8)))
    between(carrier, sight())  # reliable again, but not since the last keyframe
    value = keyframe(carrier, sight(), flat(140))
    assert np.allclose(value[:, :7], 120)
    assert np.allclose(value[:, 9:], 110)
    value = between(carrier, sight())
    assert np.allclose(value[:, :7], 140)
    assert np.allclose(value[:, 9:], 120)
    assert np.allclose(between(carrier, sight())[:, :7], 140)


def test_with_a_short_fade_what_is_unreliable_takes_the_fresh_result_at_once() -> None:
    """The mode blend: nothing was shown wrong for longer than one frame."""
    carrier = Propagator(fade_frames=2)
    keyframe(carrier, MotionAnalysis(), flat(100))
    value = keyframe(carrier, sight(lost=slice(0, 8)), flat(140))
    assert np.allclose(value[:, :8], 140)
    assert np.allclose(value[:, 8:], 120)


def test_a_new_keyframe_during_a_fade_goes_on_from_what_is_shown() -> None:
    carrier = Propagator(fade_frames=4)
    keyframe(carrier, MotionAnalysis(), flat(100))
    keyframe(carrier, sight(), flat(140))  # shows 110
    value = keyframe(carrier, sight(), flat(90))
    assert np.allclose(value, 110 - 20 / 4)


def test_noise_is_averaged_by_a_short_fade() -> None:
    """The mode blend: every frame a keyframe, half of each difference taken."""
    random = np.random.default_rng(0)
    carrier = Propagator(fade_frames=2)
    raw, steady = [], []
    for step in range(60):
        fresh = flat(128) + random.normal(0, 10, (*SIZE, 2)).astype(np.float32)
        raw.append(fresh)
        steady.append(keyframe(carrier, sight() if step else MotionAnalysis(), fresh, key=step))
    flicker = np.square(np.diff(raw, axis=0)).mean()
    # Of white noise, an average with weight 1/2 leaves the share 1/6 of the flicker.
    assert np.square(np.diff(steady[5:], axis=0)).mean() == pytest.approx(flicker / 6, rel=0.1)


def test_a_late_answer_is_brought_along_the_way() -> None:
    carrier = Propagator(fade_frames=1)
    keyframe(carrier, MotionAnalysis(), ramp(), key="first")
    carrier.step(sight(1.0))
    carrier.ask("late")
    shown(carrier)
    between(carrier, sight(1.0))
    carrier.step(sight(1.0))
    carrier.take("late", ramp() * 10)  # as seen two frames ago
    assert np.allclose(shown(carrier)[:, 4:], ((ramp() - 2) * 10)[:, 4:], atol=1e-2)


def test_a_late_answer_does_not_make_the_fade_jump() -> None:
    carrier = Propagator(fade_frames=8)
    keyframe(carrier, MotionAnalysis(), flat(100))
    values = [float(keyframe(carrier, sight(), flat(180), key="a")[5, 5, 0])]
    carrier.step(sight())
    carrier.ask("b")
    values.append(float(shown(carrier)[5, 5, 0]))
    values += [float(between(carrier, sight())[5, 5, 0]) for _ in range(2)]
    carrier.step(sight())
    carrier.take("b", flat(180))
    values.append(float(shown(carrier)[5, 5, 0]))
    values += [float(between(carrier, sight())[5, 5, 0]) for _ in range(9)]
    steps = np.diff(values)
    assert steps.max() <= 10.001
    assert steps.min() >= -1e-3
    assert values[-1] == pytest.approx(180)


def test_late_unreliable_places_are_known_where_the_way_is() -> None:
    """Lost before the question: twice as fast. Lost after it: the late answer says little, and the next one helps."""
    carrier = Propagator(fade_frames=4)
    keyframe(carrier, MotionAnalysis(), flat(100), key="first")
    carrier.step(sight(lost=slice(0, 8)))
    carrier.ask("late")
    shown(carrier)
    carrier.step(sight(lost=slice(20, 32)))
    carrier.take("late", flat(140))
    value = shown(carrier)
    assert np.allclose(value[:, :7], 120)
    assert np.allclose(value[:, 9:], 110)
    carrier.step(sight())
    carrier.ask("next")
    carrier.take("next", flat(110))
    for _ in range(2):
        value = shown(carrier)
        carrier.step(sight())
    assert np.allclose(value[:, 21:], 110)


def test_a_cut_forgets_everything_and_old_answers() -> None:
    carrier = Propagator()
    keyframe(carrier, MotionAnalysis(), flat(100), key="before")
    carrier.step(sight())
    carrier.ask("asked before the cut")
    shown(carrier)
    carrier.step(MotionAnalysis())
    assert carrier.show() is None
    carrier.take("asked before the cut", flat(1))
    assert carrier.show() is None
    carrier.step(sight(2.0))
    carrier.ask("after")
    carrier.step(sight(2.0))
    carrier.take("after", ramp())
    assert np.allclose(shown(carrier)[:, 3:], (ramp() - 2)[:, 3:], atol=1e-3)


def test_only_the_answers_that_are_waited_for_are_kept() -> None:
    carrier = Propagator(fade_frames=4)
    keyframe(carrier, MotionAnalysis(), flat(100), key=0)
    for key in range(1, 50):
        carrier.step(sight())
        carrier.ask(key)
        shown(carrier)
    carrier.take(3, flat(0))  # long given up
    carrier.take(49, flat(140))
    assert np.allclose(shown(carrier), 110)
    carrier.take(48, flat(0))  # older than one that was taken
    assert np.allclose(between(carrier, sight()), 120)


def test_results_of_another_shape_are_refused() -> None:
    carrier = Propagator()
    keyframe(carrier, MotionAnalysis(), flat(100))
    with pytest.raises(ShapeMismatch):
        keyframe(carrier, sight(), np.zeros((4, 4, 2), np.float32))


def test_small_results_are_carried_by_larger_flows() -> None:
    carrier = Propagator()
    small = ramp()[::2, ::2]
    keyframe(carrier, MotionAnalysis(), small)
    assert np.allclose(between(carrier, sight(4.0))[:, 3:], (small - 4)[:, 3:], atol=1e-3)


def test_images_are_carried_as_images_to_within_their_rounding() -> None:
    random = np.random.default_rng(3)
    results = [random.integers(0, 256, (*SIZE, 3), np.uint8) for _ in range(3)]
    carriers = {np.uint8: Propagator(fade_frames=4), np.float32: Propagator(fade_frames=4)}
    for number in range(9):
        at = sight(0.25 * number, lost=slice(3, 9), new=slice(20, 24)) if number else MotionAnalysis()
        found = {}
        for dtype, carrier in carriers.items():
            carrier.step(at)
            if number % 3 == 0:
                carrier.ask(number)
            if number % 3 == 1:  # late by a frame
                carrier.take(number - 1, results[number // 3].astype(dtype))
            found[dtype] = carrier.show()
        if number:
            assert found[np.uint8].dtype == np.uint8
            assert np.abs(found[np.uint8] - found[np.float32]).max() <= 1.6
