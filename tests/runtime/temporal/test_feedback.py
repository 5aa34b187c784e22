"""The steadier of a network with a memory: ways back, and answers that come late."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.temporal.options import SteadyOptions
from steadyframe.runtime.temporal.feedback import FeedbackStage
from steadyframe.runtime.temporal.stage import Fresh

PAN = 3  # pixels a frame


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


def test_the_way_leads_to_the_last_frame_that_the_network_saw(frame: Callable[[int], Frame]) -> None:
    steadier = FeedbackStage("styled", SteadyOptions.of("keyframe", every=3))
    lengths = []
    for index in range(7):
        motion = steadier.observe(frame(index))
        assert motion.keyframe == (index % 3 == 0)
        way = steadier.way
        lengths.append(0 if way is None or way.flow is None else round(float(np.median(way.flow.vectors[..., 0]))))
    expected = [0, *(PAN * steps for steps in (1, 2, 3, 1, 2, 3))]  # the flow is measured at the frame's own 240 rows
    assert np.abs(np.subtract(lengths, expected)).max() <= 1


def test_outputs_of_the_frame_itself_are_given_as_they_are(frame: Callable[[int], Frame]) -> None:
    steadier = FeedbackStage("styled", SteadyOptions.of("blend"))
    for index in range(3):
        motion = steadier.observe(frame(index))
        outputs = styled(frame(index)) | {"other": np.zeros(1)}
        found = steadier.steady(motion, Fresh(frame(index), outputs))
        assert found["styled"] is outputs["styled"] and found["other"] is outputs["other"]


def test_a_late_answer_is_carried_to_the_frame_at_hand(frame: Callable[[int], Frame]) -> None:
    steadier = FeedbackStage("styled", SteadyOptions.of("blend"))
    steadier.steady(steadier.observe(frame(0)), Fresh(frame(0), styled(frame(0))))
    for index in (1, 2):
        asked = steadier.observe(frame(index), may_run=index == 1)
        waiting = steadier.steady(asked, None)["styled"]
        assert np.abs(inner(waiting) - inner(styled(frame(index))["styled"])).mean() < 8
    late = steadier.steady(steadier.observe(frame(3), may_run=False), Fresh(frame(1), styled(frame(1))))["styled"]
    assert np.abs(inner(late) - inner(styled(frame(3))["styled"])).mean() < 8
    # An answer to a question from before is of no use any more.
    marked = {"styled": np.zeros_like(frame(0).pixels)}
    again = steadier.steady(steadier.observe(frame(4), may_run=False), Fresh(frame(0), marked))["styled"]
    assert again.mean() > 50


def test_a_cut_and_a_reset_end_the_way(frame: Callable[[int], Frame]) -> None:
    steadier = FeedbackStage("styled", SteadyOptions.of("blend"))
    for index in range(2):
        steadier.observe(frame(index))
    assert steadier.way is not None
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert steadier.observe(Frame(noise, 2, 2, "pan")).keyframe
    assert steadier.way is None
    steadier.observe(Frame(noise, 3, 3, "pan"))
    assert steadier.way is not None
    steadier.reset()
    assert steadier.way is None


def test_a_fade_is_that_of_any_dense_output(frame: Callable[[int], Frame]) -> None:
    steadier = FeedbackStage("styled", SteadyOptions(mode="blend", fade_frames=4))
    still = frame(0)
    first = steadier.steady(steadier.observe(still), Fresh(still, {"styled": np.zeros((240, 320, 3), np.uint8)}))
    assert first["styled"].max() == 0
    again = Frame(still.pixels, 1, 1, "pan")
    second = steadier.steady(steadier.observe(again), Fresh(again, {"styled": np.full((240, 320, 3), 100, np.uint8)}))
    assert 20 < np.median(second["styled"]) < 60
