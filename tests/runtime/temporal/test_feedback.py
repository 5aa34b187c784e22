"""The stage of a network that is fed its own output: paths back, and results that come late."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.motion.flow import FlowOptions
from steadyframe.runtime.temporal.feedback import FeedbackStage
from steadyframe.runtime.temporal.keyframes import KeyframeOptions
from steadyframe.runtime.temporal.motion_path import MotionPath
from steadyframe.runtime.temporal.options import PropagatedOutput, SteadyOptions
from steadyframe.runtime.temporal.stage import Fresh

PAN = 3  # pixels a frame
STYLED = PropagatedOutput(name="styled", flow=FlowOptions("medium", short_side=240))


@pytest.fixture
def frame() -> Callable[[int], Frame]:
    """Frames of a textured scene that moves left."""
    coarse = np.random.default_rng(4).integers(0, 256, (24, 48, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (480, 240), interpolation=cv2.INTER_CUBIC)

    def at(index: int) -> Frame:
        return Frame(np.ascontiguousarray(scene[:, PAN * index : PAN * index + 320]), index, index, "pan")

    return at


def styled(frame: Frame) -> dict[str, NDArray[np.uint8]]:
    """An output that tells which frame it belongs to."""
    return {"styled": 255 - frame.pixels}


def inner(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    return pixels[30:-30, 40:-60].astype(int)


def length(path: MotionPath | None) -> int:
    """Pixels that the scene has moved along a path; the flow is measured at the frame's own 240 rows."""
    return 0 if path is None or path.flow is None else round(float(np.median(path.flow.vectors[..., 0])))


def test_the_path_leads_to_the_last_frame_that_the_network_ran_on(frame: Callable[[int], Frame]) -> None:
    stage = FeedbackStage(STYLED, SteadyOptions.of("keyframe", every=3))
    motions = [stage.observe(frame(index)) for index in range(7)]
    assert [motion.keyframe for motion in motions] == [index % 3 == 0 for index in range(7)]
    assert motions[0].path is None
    expected = [0, *(PAN * steps for steps in (1, 2, 3, 1, 2, 3))]
    # Read at the end: a path that was handed out does not grow with the frames after it.
    assert np.abs(np.subtract([length(motion.path) for motion in motions], expected)).max() <= 1


def test_outputs_of_the_frame_itself_are_given_as_they_are(frame: Callable[[int], Frame]) -> None:
    stage = FeedbackStage(STYLED, SteadyOptions.of("blend"))
    for index in range(3):
        motion = stage.observe(frame(index))
        outputs = styled(frame(index)) | {"other": np.zeros(1)}
        (found,) = stage.update(motion, Fresh(frame(index), outputs))
        assert found["styled"] is outputs["styled"] and found["other"] is outputs["other"]


def test_a_late_result_is_propagated_to_the_frame_at_hand(frame: Callable[[int], Frame]) -> None:
    stage = FeedbackStage(STYLED, SteadyOptions.of("blend"))
    stage.update(stage.observe(frame(0)), Fresh(frame(0), styled(frame(0))))
    for index in (1, 2):
        submitted = stage.observe(frame(index), may_run=index == 1)
        waiting = stage.update(submitted, None)[0]["styled"]
        assert np.abs(inner(waiting) - inner(styled(frame(index))["styled"])).mean() < 8
    late = stage.update(stage.observe(frame(3), may_run=False), Fresh(frame(1), styled(frame(1))))[0]["styled"]
    assert np.abs(inner(late) - inner(styled(frame(3))["styled"])).mean() < 8
    # The result of a frame before that one is of no use any more.
    marked = {"styled": np.zeros_like(frame(0).pixels)}
    again = stage.update(stage.observe(frame(4), may_run=False), Fresh(frame(0), marked))[0]["styled"]
    assert again.mean() > 50


def test_a_cut_and_a_restart_end_the_path(frame: Callable[[int], Frame]) -> None:
    stage = FeedbackStage(STYLED, SteadyOptions.of("blend"))
    stage.observe(frame(0))
    assert stage.observe(frame(1)).path is not None
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    cut = stage.observe(Frame(noise, 2, 2, "pan"))
    assert cut.keyframe and cut.path is None and not cut.restart
    assert stage.observe(Frame(noise, 3, 3, "pan")).path is not None
    restart = stage.observe(Frame(noise, 4, 4, "pan"), restart=True)
    assert restart.keyframe and restart.path is None and restart.restart


def test_a_fade_is_that_of_any_dense_output(frame: Callable[[int], Frame]) -> None:
    stage = FeedbackStage(STYLED, SteadyOptions(mode="blend", fade_frames=4))
    still = frame(0)
    (first,) = stage.update(stage.observe(still), Fresh(still, {"styled": np.zeros((240, 320, 3), np.uint8)}))
    assert first["styled"].max() == 0
    again = Frame(still.pixels, 1, 1, "pan")
    (second,) = stage.update(stage.observe(again), Fresh(again, {"styled": np.full((240, 320, 3), 100, np.uint8)}))
    assert 20 < np.median(second["styled"]) < 60


def keyframes_of(options: SteadyOptions, count: int = 13) -> list[int]:
    """Frames of a still scene that the network runs on."""
    coarse = np.random.default_rng(4).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    stage = FeedbackStage(STYLED, options)
    return [index for index in range(count) if stage.observe(Frame(pixels, index, index)).keyframe]


def test_keyframe_options_that_are_given_hold_even_if_they_are_the_general_defaults() -> None:
    assert keyframes_of(SteadyOptions()) == [0, 10]  # the stage's own
    assert keyframes_of(SteadyOptions(keyframes=KeyframeOptions())) == [0, 6, 12]
    assert keyframes_of(SteadyOptions(keyframes=KeyframeOptions(every=5))) == [0, 5, 10]
    assert keyframes_of(SteadyOptions(mode="blend", keyframes=KeyframeOptions(every=5)), 3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "stretch", "expected"),
    [
        (SteadyOptions(), 1, [0, 3, 4]),  # what came in on frame 3 is gone on frame 4
        (SteadyOptions(), 2, [0]),  # the stream shall work less
        (SteadyOptions(repaint=None), 1, [0]),
        (SteadyOptions(keyframes=KeyframeOptions(every=8)), 1, [0]),
    ],
)
def test_a_frame_that_the_propagated_input_does_not_look_like_is_a_keyframe(
    frame: Callable[[int], Frame], options: SteadyOptions, stretch: int, expected: list[int]
) -> None:
    stage = FeedbackStage(STYLED, options)
    stage.stretch(stretch)
    fine = np.random.default_rng(7).integers(0, 256, (10, 8, 3), dtype=np.uint8)
    found = []
    for index in range(7):
        pixels = frame(0).pixels.copy()
        if index == 3:  # an object of a sixth of the picture's width comes in
            pixels[80:180, 120:172] = cv2.resize(fine, (52, 100), interpolation=cv2.INTER_CUBIC)
        if stage.observe(Frame(pixels, index, index, "pan")).keyframe:
            found.append(index)
    assert found == expected
