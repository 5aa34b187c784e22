"""Frames of a file that are filled from the keyframes on both sides."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from steadyframe.runtime.bench.speed import PacedSource
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.motion.flow import FlowOptions
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.task import Image, Placement
from steadyframe.runtime.temporal.dense import DenseStage, SteadyOptions, open_steadier
from steadyframe.runtime.temporal.keyframes import KeyframeOptions
from steadyframe.runtime.temporal.lookahead import EVERY, LookaheadStage
from steadyframe.runtime.temporal.stage import AheadSteadier, Fresh

SHOWN_WH = (64, 48)


class Scripted:
    """A task whose network gives the value of a script for every run."""

    name, carried, device = "scripted", "crcb", "none"

    def __init__(self, script: list[float]) -> None:
        self.script, self.runs, self.seen = script, 0, []

    def reset(self) -> None: ...

    def close(self) -> None: ...

    def preprocess(self, frame):
        return {"frame": frame.pixels[None]}, Placement(frame)

    def infer(self, feeds):
        value = self.script[self.runs]
        self.runs += 1
        return {"crcb": np.full((*SHOWN_WH[::-1], 2), value, np.float32), "run": self.runs}

    def postprocess(self, outputs, placement):
        self.seen.append(float(outputs["crcb"][24, 32, 0]))
        return Image(placement.frame.pixels)


def still(tmp_path, count: int, *, seed: int = 0, start: int = 0) -> None:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    image = cv2.resize(coarse, (128, 96), interpolation=cv2.INTER_CUBIC)
    for index in range(start, start + count):
        cv2.imwrite(str(tmp_path / f"{index:03}.png"), image)


def keyframes(**given) -> LookaheadStage:
    return LookaheadStage("crcb", keyframes=KeyframeOptions(**given))


def play(tmp_path, task: Scripted, steadier: LookaheadStage, **given) -> list:
    results: list = []
    Stream(open_source(str(tmp_path), sequence=True), task, steadier=steadier, **given).run(results.append)
    return results


def test_frames_between_go_evenly_from_one_keyframe_to_the_next(tmp_path) -> None:
    still(tmp_path, 9)
    task = Scripted([10, 20, 30])
    results = play(tmp_path, task, keyframes(every=4))
    # A keyframe takes 0.7 of its own result: 10, then 17, then 0.7 * 30 + 0.3 * 17 = 26.1.
    evenly = [*np.linspace(10, 17, 5), *np.linspace(17, 26.1, 5)[1:]]
    assert task.seen == pytest.approx(evenly, abs=1e-3)
    assert [result.keyframe for result in results] == [index % 4 == 0 for index in range(9)]
    assert [result.frame.index for result in results] == list(range(9))


def test_the_last_frames_keep_what_the_last_keyframe_said(tmp_path) -> None:
    still(tmp_path, 7)
    task = Scripted([10, 20])
    assert len(play(tmp_path, task, keyframes(every=4))) == 7
    assert task.seen[4:] == pytest.approx([17, 17, 17])


def test_a_limit_ends_the_stream_with_every_frame_delivered(tmp_path) -> None:
    still(tmp_path, 9)
    task = Scripted([10, 20, 30])
    assert len(play(tmp_path, task, keyframes(every=4), limit=6)) == 6


def test_nothing_crosses_a_cut(tmp_path) -> None:
    still(tmp_path, 3)
    still(tmp_path, 3, seed=5, start=3)
    task = Scripted([10, 20])
    results = play(tmp_path, task, keyframes(every=4))
    assert task.seen == pytest.approx([10] * 3 + [20] * 3)
    assert [result.keyframe for result in results] == [True, False, False] * 2


def test_a_change_of_size_delivers_what_waits_and_starts_anew(tmp_path) -> None:
    still(tmp_path, 3)
    for index in range(3, 6):
        cv2.imwrite(str(tmp_path / f"{index:03}.png"), np.full((64, 80, 3), 90, np.uint8))
    task = Scripted([10, 20])
    results = play(tmp_path, task, keyframes(every=4))
    assert task.seen == pytest.approx([10] * 3 + [20] * 3)
    assert [result.frame.size_wh for result in results] == [(128, 96)] * 3 + [(80, 64)] * 3


@pytest.mark.parametrize("flow", [None, FlowOptions(short_side=96, check_side=48)])
def test_both_sides_are_carried_by_the_motion(flow: FlowOptions | None) -> None:
    """An image moves by 4 pixels a frame, and so does the step in its result, which stays on the image."""
    coarse = np.random.default_rng(0).integers(0, 256, (16, 40, 3), np.uint8)
    big = cv2.resize(coarse, (640, 192), interpolation=cv2.INTER_CUBIC)
    steadier = LookaheadStage("crcb", flow=flow, keyframes=KeyframeOptions(every=4))
    columns = np.arange(256)

    def edge(index: int) -> np.ndarray:
        value = np.where(columns < 160 - 4 * index, 50, 200).astype(np.float32)
        return np.broadcast_to(value[None, :, None], (192, 256, 2)).copy()

    found = []
    for index in range(5):
        frame = Frame(np.ascontiguousarray(big[:, 4 * index : 4 * index + 256]), index)
        motion = steadier.observe(frame)
        found += steadier.take(motion, Fresh(frame, {"crcb": edge(index)}) if motion.keyframe else None)
    assert len(found) == 5
    for index, outputs in enumerate(found):
        row = outputs["crcb"][96, :, 0]
        assert int(np.argmax(row > 125)) == pytest.approx(160 - 4 * index, abs=2)
        assert row[: 150 - 4 * index].max() == pytest.approx(50, abs=1)  # no ghost of the step beside it


def test_other_outputs_are_those_of_the_last_keyframe(tmp_path) -> None:
    steadier = keyframes(every=2)
    frame = Frame(np.full((96, 128, 3), 70, np.uint8))
    task = Scripted([1, 2, 3])
    found = []
    for index in range(5):
        motion = steadier.observe(Frame(frame.pixels, index))
        fresh = Fresh(frame, task.infer({})) if motion.keyframe else None
        found += steadier.take(motion, fresh)
    assert [outputs["run"] for outputs in found] == [1, 1, 2, 2, 3]


def test_files_look_ahead_and_live_streams_do_not() -> None:
    task = Scripted([])
    ahead = open_steadier(task, SteadyOptions(), ahead=True)
    assert isinstance(ahead, LookaheadStage)
    assert isinstance(ahead, AheadSteadier)
    assert ahead.held_back == EVERY
    assert isinstance(open_steadier(task, SteadyOptions()), DenseStage)
    assert isinstance(open_steadier(task, SteadyOptions(mode="blend"), ahead=True), DenseStage)
    # So many frames would be too many to hold back; and who asks for fades gets them.
    assert isinstance(open_steadier(task, SteadyOptions.of("keyframe", every=40), ahead=True), DenseStage)
    assert isinstance(open_steadier(task, SteadyOptions(fade_frames=3), ahead=True), DenseStage)
    with pytest.raises(UsageError, match="cannot wait"):
        Stream(PacedSource(open_source("test://"), fps=30, count=3), task, steadier=ahead)
