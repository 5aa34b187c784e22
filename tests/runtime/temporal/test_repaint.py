"""What is propagated is checked by the input itself, and what does not look like the frame is painted anew."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.motion.flow import Flow, positions, sample
from steadyframe.runtime.tasks.tiles import lay_tile, tile_windows
from steadyframe.runtime.temporal.feedback import FeedbackStage
from steadyframe.runtime.temporal.image_stack import MOST, ImageStack
from steadyframe.runtime.temporal.keyframes import KeyframeOptions
from steadyframe.runtime.temporal.motion_path import MotionPath
from steadyframe.runtime.temporal.options import PropagatedOutput, SteadyOptions
from steadyframe.runtime.temporal.repaint import RepaintOptions, repaint_of
from steadyframe.runtime.temporal.repaint import unlike as unlike_along
from steadyframe.runtime.temporal.repainting import RepaintStage
from steadyframe.runtime.temporal.stage import Fresh

import steadyframe as sf

OPTIONS = RepaintOptions()


def texture(seed=0, size=(120, 160)):
    noise = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


def path(dx=0.0, dy=0.0):
    flow = Flow.constant((120, 160), dx, dy)
    return MotionPath(flow, np.ones((120, 160), np.float32))


def unlike(way, key, current, options):
    return unlike_along(way.flow, sample(key, positions(way.flow)), current, options)


def test_what_follows_the_flow_is_alike_and_what_does_not_is_found():
    key = texture()
    moved = np.roll(key, 7, axis=1)
    assert not unlike(path(dx=-7), key, moved, OPTIONS)[:, 14:].any()  # besides what came in from the left
    assert unlike(path(), key, moved, OPTIONS).mean() > 0.5


def test_what_came_from_outside_is_found_even_where_it_is_flat():
    flat = np.full((120, 160), 90, np.uint8)
    found = unlike(path(dx=-12), flat, flat, OPTIONS)
    assert found[:, :10].all()
    assert not found[:, 11:].any()


def test_a_border_that_trembles_by_a_pixel_is_not_outside():
    key = texture()
    assert not unlike(path(dx=-0.4, dy=0.7), key, key, OPTIONS).any()


def test_camera_noise_is_no_change():
    key = texture()
    noise = np.random.default_rng(1).normal(0, 3, key.shape)
    assert unlike(path(), key, np.clip(key + noise, 0, 255).astype(np.uint8), OPTIONS).mean() < 0.01


def test_a_thing_that_changed_is_covered_by_a_tile_and_nothing_else_is():
    key = texture()
    now = key.copy()
    now[44:60, 94:110] = texture(seed=5)[44:60, 94:110]
    repaint = repaint_of(unlike(path(), key, now, OPTIONS), OPTIONS)
    assert repaint is not None
    assert repaint.weight[52, 102] == 1
    assert repaint.weight[52, 10] == 0
    assert inner_of(repaint)[repaint.weight > 0].all()
    assert repaint.cost < 0.7
    assert repaint_of(np.zeros(key.shape, bool), OPTIONS) is None


def inner_of(repaint):
    """What lies inside of the margins of the tiles, or in a margin at the border of the image."""
    height, width = repaint.weight.shape
    covered = np.zeros(repaint.weight.shape, bool)
    for x, y in repaint.tiles.tolist():
        right, low = x + repaint.side, y + repaint.side
        left = x + repaint.margin * (x > 0)
        top = y + repaint.margin * (y > 0)
        covered[top : low - repaint.margin * (low < height), left : right - repaint.margin * (right < width)] = True
    return covered


@pytest.mark.parametrize("seed", range(8))
def test_tiles_cover_any_places_and_lie_inside_the_image(seed):
    random = np.random.default_rng(seed)
    found = np.zeros((int(random.integers(60, 250)), int(random.integers(60, 330))), bool)
    for _ in range(int(random.integers(1, 20))):
        y, x = (int(random.integers(0, side)) for side in found.shape)
        found[y : y + int(random.integers(1, 60)), x : x + int(random.integers(1, 60))] = True
    repaint = repaint_of(found, OPTIONS)
    assert inner_of(repaint)[repaint.weight > 0].all()
    assert (repaint.tiles >= 0).all()
    assert (repaint.tiles + repaint.side <= np.array(found.shape[::-1])).all()


def test_tiles_of_a_frame_are_multiples_inside_of_it_and_of_one_size():
    repaint = repaint_of(np.pad(np.ones((10, 10), bool), ((100, 10), (190, 13))), OPTIONS)
    windows, margin = tile_windows(repaint, (240, 424), 8)
    assert margin == 16
    for rows, columns in windows:
        assert (rows.stop - rows.start, columns.stop - columns.start) == (96, 96)
        assert rows.start % 8 == columns.start % 8 == 0
        assert rows.start >= 0 and rows.stop <= 240 and columns.start >= 0 and columns.stop <= 424


def test_two_tiles_meet_without_a_seam():
    image = np.zeros((64, 160, 3), np.uint8)
    lay_tile(image, np.full((64, 96, 3), 100, np.uint8), (slice(0, 64), slice(0, 96)), 16)
    lay_tile(image, np.full((64, 96, 3), 140, np.uint8), (slice(0, 64), slice(64, 160)), 16)
    row = image[32, :, 0].astype(int)
    assert row[0] == 100 and row[-1] == 140  # at the border of the image there is no margin
    assert (image[0] == image[63]).all()
    assert np.abs(np.diff(row)).max() <= 4


def test_an_image_of_several_is_read_from_each_and_never_from_a_neighbor():
    levels = [np.full((40, 60, 3), 20 * (number + 1), np.uint8) for number in range(4)]
    stack = ImageStack(levels[0])
    assert [stack.add(image) for image in levels[1:]] == [1, 2, 3]
    flow = np.zeros((20, 30, 2), np.float32)
    flow[..., 1] = np.linspace(-30, 30, 20)[:, None]  # far beyond both borders
    source = np.repeat(np.arange(4, dtype=np.uint8), (7, 8, 7, 8))[None].repeat(20, 0)
    read = stack.read(MotionPath(Flow(flow), np.ones((20, 30), np.float32), source, 1))
    assert set(np.unique(read)) == {20, 40, 60, 80}
    assert (read[:, :13] == 20).all() and (read[:, -15:] == 80).all()


def test_a_path_to_two_frames_takes_no_mean_of_their_ways():
    way = MotionPath()
    still, ones = Flow.constant((40, 60)), np.ones((40, 60), np.float32)
    way.step(Flow.constant((40, 60), -20.0), ones)
    mask = np.zeros((40, 60), bool)
    mask[:, 30:] = True
    way.lead(mask, 1)
    way.step(Flow.constant((40, 60), 0.5), ones)  # between two pixels, and so between the two ways
    way.step(still, ones)
    assert way.steps == 3
    away = np.abs(way.flow.vectors[..., 0])
    assert ((away < 2) | (away > 18)).all()
    assert set(np.unique(way.source)) == {0, 1}


@pytest.mark.parametrize("wrong", [{"correlation": 0.0}, {"most": 1.5}, {"difference": -1.0}, {"tile": 16}])
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


def shown_of(stage, frames):
    """What a stage shows when the task paints the input's own negative, into what was shown last."""
    last = None
    for frame in frames:
        motion = stage.observe(frame)
        image = None
        if motion.keyframe:
            image = 255 - frame.pixels
        elif motion.repaint is not None:
            weight = cv2.resize(motion.repaint.weight, frame.size_wh)[..., None]
            image = np.rint(weight * (255 - frame.pixels) + (1 - weight) * last).astype(np.uint8)
        fresh = None if image is None else Fresh(frame, {"styled": image})
        (outputs,) = stage.update(motion, fresh)
        last = outputs["styled"]
        yield frame, motion, last


def test_a_stage_names_tiles_between_keyframes_and_shows_what_the_task_made():
    stage = RepaintStage(PropagatedOutput(name="styled"), SteadyOptions(mode="keyframe"))
    with_tiles = 0
    for frame, motion, shown in shown_of(stage, frames_of_a_crossing()):
        if motion.repaint is not None:
            with_tiles += 1
            weight = cv2.resize(motion.repaint.weight, (320, 240))
            assert (shown[weight > 0.999] == 255 - frame.pixels[weight > 0.999]).all()
            assert motion.repaint.cost <= OPTIONS.most
    assert with_tiles >= 5


def stopping(count=9):
    """A thing that jumps to another place and stays there."""
    frames = list(frames_of_a_crossing(3))
    return [frames[0], *(Frame(frames[2].pixels, index, index * 33_000_000) for index in range(1, count))]


def test_what_was_painted_once_is_propagated_and_not_painted_again():
    stage = RepaintStage(PropagatedOutput(name="styled"), SteadyOptions(mode="keyframe"))
    found = list(shown_of(stage, stopping()))
    painted = [motion.repaint is not None for _, motion, _ in found]
    assert painted[1] and not any(painted[3:8])
    for _, motion, shown in found[3:8]:
        assert not motion.keyframe
        assert np.abs(shown[95:145, 52:100].astype(int) - found[1][2][95:145, 52:100]).mean() < 2


def test_more_repainted_frames_than_a_stack_holds():
    options = SteadyOptions(mode="keyframe", keyframes=KeyframeOptions(every=40))
    stage = RepaintStage(PropagatedOutput(name="styled"), options)
    still = np.array(next(iter(frames_of_a_crossing(1))).pixels)
    numbers = []
    frames = []
    for index in range(30):
        pixels = still.copy()
        pixels[40:80, 100:140] = 255 * (index % 2)  # never the same twice running
        frames.append(Frame(pixels, index, index))
    for frame, motion, shown in shown_of(stage, frames):
        assert shown.shape == frame.pixels.shape
        if motion.repaint is not None:
            numbers.append(motion.repaint.number)
            assert (shown[50:70, 110:130] == 255 - frame.pixels[50:70, 110:130]).all()
        assert np.abs(shown[120:, :60].astype(int) - (255 - still[120:, :60])).mean() < 3
    assert max(numbers) == MOST - 1 and 0 in numbers


def test_a_live_stream_and_one_that_is_told_so_repaint_nothing():
    task = sf.open_task("stylize-wave", device="cpu")
    keyframe = SteadyOptions(mode="keyframe")
    assert isinstance(task.make_stage(keyframe), RepaintStage)
    assert isinstance(task.make_stage(keyframe, live=True), FeedbackStage)
    assert isinstance(task.make_stage(SteadyOptions(mode="keyframe", repaint=None)), FeedbackStage)
    assert isinstance(task.make_stage(SteadyOptions(mode="blend")), FeedbackStage)
    task.close()


def test_too_much_that_is_unlike_is_a_keyframe():
    stage = RepaintStage(PropagatedOutput(name="styled"), SteadyOptions(mode="keyframe"))
    still = [Frame(cv2.cvtColor(texture(size=(240, 320)), cv2.COLOR_GRAY2BGR), i) for i in range(3)]
    other = np.array(still[0].pixels)
    other[:, :200] = cv2.cvtColor(texture(seed=9, size=(240, 320)), cv2.COLOR_GRAY2BGR)[:, :200]
    motions = [stage.observe(frame) for frame in (*still, Frame(other, 3))]
    assert [motion.keyframe for motion in motions] == [True, False, False, True]
    assert motions[-1].repaint is None


def test_the_shipped_style_paints_tiles_like_the_whole_frame_far_from_their_rim():
    frames = list(frames_of_a_crossing(9))
    with sf.open_processor("stylize-wave", steady="keyframe", live=False, device="cpu") as processor:
        results = [result for frame in frames for result in processor.process(frame)]
    with sf.open_processor("stylize-wave", steady="off", device="cpu") as processor:
        plain = [result for frame in frames for result in processor.process(frame)]
    tiled = [i for i, r in enumerate(results) if "infer" in r.timings_ms and not r.keyframe]
    assert tiled
    for index in tiled:
        x = 10 + 18 * index
        ours, theirs = (r[index].output.pixels[105:135, x + 15 : x + 45].astype(float) for r in (results, plain))
        assert abs(ours.mean() - theirs.mean()) < 12
