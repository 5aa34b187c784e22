"""What is propagated is checked by the input itself, and what does not look like the frame is painted anew."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.motion.flow import Flow
from steadyframe.runtime.temporal.feedback import FeedbackStage
from steadyframe.runtime.temporal.motion_path import MotionPath
from steadyframe.runtime.temporal.options import PropagatedOutput, SteadyOptions
from steadyframe.runtime.temporal.repaint import RepaintOptions, repaint_of, unlike
from steadyframe.runtime.temporal.stage import Fresh

import steadyframe as sf

OPTIONS = RepaintOptions()


def texture(seed=0, size=(120, 160)):
    noise = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


def path(dx=0.0, dy=0.0):
    flow = Flow.constant((120, 160), dx, dy)
    return MotionPath(flow, np.ones((120, 160), np.float32))


def test_what_follows_the_flow_is_alike_and_what_does_not_is_found():
    key = texture()
    moved = np.roll(key, 7, axis=1)
    assert not unlike(path(dx=-7), key, moved, OPTIONS)[:, 14:].any()  # besides what came in from the left
    assert unlike(path(), key, moved, OPTIONS).mean() > 0.5


def test_what_came_from_outside_is_found_even_where_it_is_flat():
    flat = np.full((120, 160), 90, np.uint8)
    found = unlike(path(dx=-12), flat, flat, OPTIONS)
    assert found[:, :12].all()
    assert not found[:, 13:].any()


def test_camera_noise_is_no_change():
    key = texture()
    noise = np.random.default_rng(1).normal(0, 3, key.shape)
    assert unlike(path(), key, np.clip(key + noise, 0, 255).astype(np.uint8), OPTIONS).mean() < 0.01


def test_a_thing_that_changed_is_covered_by_a_crop_and_nothing_else_is():
    key = texture()
    now = key.copy()
    now[40:70, 90:120] = texture(seed=5)[40:70, 90:120]
    repaint = repaint_of(unlike(path(), key, now, OPTIONS), OPTIONS)
    assert repaint is not None
    ((x, y, width, height),) = repaint.crops.tolist()
    assert x < 90 and y < 40 and x + width > 120 and y + height > 70
    assert repaint.weight[55, 105] == 1
    assert repaint.weight[55, 10] == 0
    covered = np.zeros(key.shape, bool)
    covered[y : y + height, x : x + width] = True
    assert not repaint.weight[~covered].any()
    assert repaint_of(np.zeros(key.shape, bool), OPTIONS) is None


def test_many_places_become_few_crops():
    found = np.zeros((240, 320), bool)
    for x in range(10, 310, 40):
        found[20, x] = found[200, x] = True
    repaint = repaint_of(found, OPTIONS)
    assert len(repaint.crops) <= 6
    assert sum(int(w * h) for _, _, w, h in repaint.crops) < 0.5 * found.size


@pytest.mark.parametrize("wrong", [{"correlation": 0.0}, {"most": 1.5}, {"difference": -1.0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError):
        RepaintOptions(**wrong)


def frames_of_a_crossing(count=14):
    """A textured thing that crosses a textured ground faster than a dense flow follows."""
    ground = cv2.cvtColor(cv2.resize(texture(size=(240, 320)), (320, 240)), cv2.COLOR_GRAY2BGR)
    thing = np.full((60, 60, 3), (30, 60, 220), np.uint8)
    thing[::6] = 255
    for index in range(count):
        pixels = ground.copy()
        pixels[90:150, 10 + 18 * index : 70 + 18 * index] = thing
        yield Frame(pixels, index, captured_ns=index * 33_000_000)


def test_a_stage_names_crops_between_keyframes_and_shows_their_paint():
    output = PropagatedOutput(name="styled")
    stage = FeedbackStage(output, SteadyOptions(mode="keyframe"))
    with_crops = 0
    for frame in frames_of_a_crossing():
        motion = stage.observe(frame)
        painted = np.full((240, 320, 3), 200 if motion.repaint is not None else 50, np.uint8)
        fresh = Fresh(frame, {"styled": painted}) if motion.runs else None
        (shown,) = stage.update(motion, fresh)
        if motion.repaint is not None:
            with_crops += 1
            weight = cv2.resize(motion.repaint.weight, (320, 240))
            assert (shown["styled"][weight > 0.999] == 200).all()
            assert (shown["styled"][weight == 0] == 50).all()
            assert motion.repaint.cost <= OPTIONS.most
    assert with_crops >= 5


def test_a_live_stage_and_one_that_is_told_so_repaint_nothing():
    for stage in (
        FeedbackStage(PropagatedOutput(name="styled"), SteadyOptions(mode="keyframe"), live=True),
        FeedbackStage(PropagatedOutput(name="styled"), SteadyOptions(mode="keyframe", repaint=None)),
    ):
        assert all(stage.observe(frame).repaint is None for frame in frames_of_a_crossing(6))


def test_too_much_that_is_unlike_is_a_keyframe():
    stage = FeedbackStage(PropagatedOutput(name="styled"), SteadyOptions(mode="keyframe"))
    still = [Frame(cv2.cvtColor(texture(size=(240, 320)), cv2.COLOR_GRAY2BGR), i) for i in range(3)]
    other = np.array(still[0].pixels)
    other[:, :200] = cv2.cvtColor(texture(seed=9, size=(240, 320)), cv2.COLOR_GRAY2BGR)[:, :200]
    motions = [stage.observe(frame) for frame in (*still, Frame(other, 3))]
    assert [motion.keyframe for motion in motions] == [True, False, False, True]
    assert motions[-1].repaint is None


def test_the_shipped_style_paints_crops_like_the_whole_frame_far_from_their_rim():
    frames = list(frames_of_a_crossing(9))
    with sf.open_processor("stylize-wave", steady="keyframe", live=False, device="cpu") as processor:
        results = [result for frame in frames for result in processor.process(frame)]
    with sf.open_processor("stylize-wave", steady="off", device="cpu") as processor:
        plain = [result for frame in frames for result in processor.process(frame)]
    cropped = [i for i, r in enumerate(results) if "infer" in r.timings_ms and not r.keyframe]
    assert cropped
    for index in cropped:
        x = 10 + 18 * index
        ours, theirs = (r[index].output.pixels[105:135, x + 15 : x + 45].astype(float) for r in (results, plain))
        assert abs(ours.mean() - theirs.mean()) < 12
