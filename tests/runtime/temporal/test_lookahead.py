"""Frames of a file that are filled from the keyframes on both sides."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from steadyframe.runtime.bench.speed import PacedSource
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.motion.flow import FlowOptions
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.task import Image, Placement
from steadyframe.runtime.temporal.dense import DenseStage, make_dense_stage
from steadyframe.runtime.temporal.keyframes import KeyframeOptions
from steadyframe.runtime.temporal.lookahead import LONGEST, LookaheadStage
from steadyframe.runtime.temporal.options import PropagatedOutput, SteadyOptions
from steadyframe.runtime.temporal.stage import EveryFrame, Fresh

SHOWN_WH = (64, 48)
CHROMA = PropagatedOutput(name="crcb", neutral=128.0)


class Scripted:
    """A task whose network gives the value of a script for every run."""

    name, propagated, device = "scripted", CHROMA, "none"

    def __init__(self, script: list[float]) -> None:
        self.script, self.runs, self.seen = script, 0, []

    def make_stage(self, options, *, live=False):
        return make_dense_stage(self.propagated, options, live=live)

    def close(self) -> None: ...

    def preprocess(self, frame, motion=None):
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
    return LookaheadStage(CHROMA, SteadyOptions(keyframes=KeyframeOptions(**given)))


def play(tmp_path, task: Scripted, stage: LookaheadStage, **given) -> list:
    results: list = []
    Stream(open_source(str(tmp_path), sequence=True), Processor(task, stage), **given).run(results.append)
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
def test_both_sides_are_propagated_along_the_motion(flow: FlowOptions | None) -> None:
    """An image moves by 4 pixels a frame, and so does the step in its result, which stays on the image."""
    coarse = np.random.default_rng(0).integers(0, 256, (16, 40, 3), np.uint8)
    big = cv2.resize(coarse, (640, 192), interpolation=cv2.INTER_CUBIC)
    stage = LookaheadStage(CHROMA, SteadyOptions(flow=flow, keyframes=KeyframeOptions(every=4)))
    columns = np.arange(256)

    def edge(index: int) -> np.ndarray:
        value = np.where(columns < 160 - 4 * index, 50, 200).astype(np.float32)
        return np.broadcast_to(value[None, :, None], (192, 256, 2)).copy()

    found = []
    for index in range(5):
        frame = Frame(np.ascontiguousarray(big[:, 4 * index : 4 * index + 256]), index)
        motion = stage.observe(frame)
        found += stage.update(motion, Fresh(frame, {"crcb": edge(index)}) if motion.keyframe else None)
    assert len(found) == 5
    for index, outputs in enumerate(found):
        row = outputs["crcb"][96, :, 0]
        assert int(np.argmax(row > 125)) == pytest.approx(160 - 4 * index, abs=2)
        assert row[: 150 - 4 * index].max() == pytest.approx(50, abs=1)  # no ghost of the step beside it


def test_other_outputs_are_those_of_the_last_keyframe() -> None:
    pixels = np.full((96, 128, 3), 70, np.uint8)
    with Processor(Scripted([1, 2, 3]), keyframes(every=2)) as processor:
        results = list(processor.process_all(Frame(pixels, index) for index in range(5)))
    assert [result.outputs["run"] for result in results] == [1, 1, 2, 2, 3]


def camera(count: int, *, seed: int = 0, size_wh: tuple[int, int] = (128, 96), **given) -> list[Frame]:
    """A camera that moves slowly over a random image."""
    width, height = size_wh
    coarse = np.random.default_rng(seed).integers(0, 256, (14, 20, 3), np.uint8)
    big = cv2.resize(coarse, (240, 168), interpolation=cv2.INTER_CUBIC)
    return [Frame(np.ascontiguousarray(big[i : i + height, i : i + width]), **given) for i in range(count)]


def numbered(*parts: list[Frame]) -> list[Frame]:
    return [replace(frame, index=index) for index, frame in enumerate(frame for part in parts for frame in part)]


STREAMS = {
    "steady": numbered(camera(11)),
    "cuts": numbered(camera(6), camera(1, seed=1), camera(5, seed=2), camera(3, seed=3)),
    "sizes": numbered(camera(6), camera(3, size_wh=(80, 64)), camera(7, size_wh=(96, 96))),
    "independent": numbered(camera(3), camera(2, seed=1, independent=True), camera(6, seed=2)),
    "short": numbered(camera(2)),
    "none": [],
}


@pytest.mark.parametrize("every", [1, 2, 4, 7, 16])
@pytest.mark.parametrize("name", STREAMS)
def test_every_frame_gets_its_result_once_and_in_order(name: str, every: int) -> None:
    frames, task, stage = STREAMS[name], Scripted([float(run) for run in range(100)]), keyframes(every=every)
    with Processor(task, stage) as processor:
        results, waiting = [], 0
        for given, frame in enumerate(frames, start=1):
            results += processor.process(frame)
            waiting = max(waiting, given - len(results))
        results += processor.flush()
        assert processor.flush() == []
    assert [result.frame for result in results] == frames
    assert all(result.output.pixels is frame.pixels for result, frame in zip(results, frames, strict=True))
    assert waiting <= stage.lookahead
    assert sum(result.keyframe for result in results) == task.runs


def test_a_processor_that_was_flushed_or_reset_goes_on() -> None:
    frames = numbered(camera(12))
    task = Scripted([10.0, 20.0, 30.0, 40.0, 50.0])
    with Processor(task, keyframes(every=4)) as processor:
        results = [*processor.process_all(frames[:3]), *processor.process_all(frames[3:6])]
        assert [result.frame.index for result in results] == list(range(6))
        assert [result.keyframe for result in results] == [True, False, False, False, True, False]
        assert len(processor.process(frames[6])) == 0
        processor.reset()  # the frame that is held back goes with it
        after = list(processor.process_all(frames[7:]))
    assert [result.frame.index for result in after] == list(range(7, 12))
    assert [result.keyframe for result in after] == [True, False, False, False, True]
    assert float(after[0].outputs["crcb"][0, 0, 0]) == 30  # its own value whole: nothing is left of the time before


def test_files_look_ahead_and_live_streams_do_not() -> None:
    task = Scripted([])
    ahead = task.make_stage(SteadyOptions())
    assert isinstance(ahead, LookaheadStage)
    assert ahead.lookahead == LONGEST
    assert task.make_stage(SteadyOptions.of("keyframe", every=7)).lookahead == 7
    assert isinstance(task.make_stage(SteadyOptions(), live=True), DenseStage)
    assert isinstance(task.make_stage(SteadyOptions(mode="blend")), DenseStage)
    assert isinstance(task.make_stage(SteadyOptions(mode="off")), EveryFrame)
    # Who asks for fades gets them.
    assert isinstance(task.make_stage(SteadyOptions(fade_frames=3)), DenseStage)
    with pytest.raises(UsageError, match="cannot wait"):
        Stream(PacedSource(open_source("test://"), fps=30, count=3), Processor(task, ahead))


def test_so_many_frames_are_too_many_to_hold_back() -> None:
    longest, longer = SteadyOptions.of("keyframe", every=LONGEST), SteadyOptions.of("keyframe", every=LONGEST + 1)
    assert isinstance(make_dense_stage(CHROMA, longest, live=False), LookaheadStage)
    stage = make_dense_stage(CHROMA, longer, live=False)
    assert type(stage) is DenseStage
    assert stage.lookahead == 0
    keyframe = [stage.observe(frame).keyframe for frame in numbered(camera(2 * LONGEST + 3))]
    assert [index for index, runs in enumerate(keyframe) if runs] == [0, LONGEST + 1, 2 * LONGEST + 2]
    with pytest.raises(UsageError, match="in memory") as raised:
        LookaheadStage(CHROMA, longer)
    assert raised.value.found == LONGEST + 1


@pytest.mark.parametrize(
    ("size_wh", "options", "expected"),
    [
        ((128, 96), SteadyOptions(), LONGEST),
        ((3840, 2160), SteadyOptions(), 2),  # BGR: 25 MB a frame, 64 MB in all
        ((3840, 2160), SteadyOptions(keyframes=KeyframeOptions(every=12)), 12),  # as the user wants it
    ],
)
def test_large_frames_are_held_back_by_their_bytes(size_wh, options, expected):
    stage = LookaheadStage(CHROMA, options)
    pixels = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    assert stage.held_back(Frame(pixels)) == expected
    runs = [stage.observe(Frame(pixels, index=index), restart=index == 0).keyframe for index in range(expected + 1)]
    assert runs == [True, *[False] * (expected - 1), True]
