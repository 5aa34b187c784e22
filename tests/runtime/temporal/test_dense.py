"""The causal temporal stage in a real stream: modes, determinism, cuts, late results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.info import Signal, SourceInfo
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.opening import open_task, steady_options
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.task import Feeds, Image, Outputs, Placement
from steadyframe.runtime.temporal.dense import DenseStage, make_dense_stage
from steadyframe.runtime.temporal.keyframes import KeyframeOptions
from steadyframe.runtime.temporal.options import PropagatedOutput, SteadyOptions
from steadyframe.runtime.temporal.stage import EveryFrame, Fresh, Motion, Stage

CHROMA = PropagatedOutput(name="crcb", neutral=128.0)


class Counting:
    """A task whose chroma tells which run of the network it comes from: 40, 41, 42, …"""

    name = "counting"
    propagated = CHROMA
    device = "none"

    def __init__(self, pause_s: float = 0.0) -> None:
        self.runs = 0
        self.pause_s = pause_s
        self.seen: list[np.ndarray] = []

    def make_stage(self, options: SteadyOptions, *, live: bool = False) -> Stage:
        return make_dense_stage(self.propagated, options, live=live)

    def preprocess(self, frame: Frame, motion: Motion | None = None) -> tuple[Feeds, Placement]:
        return {}, Placement(frame)

    def infer(self, feeds: Feeds) -> Outputs:
        time.sleep(self.pause_s)
        self.runs += 1
        return {"crcb": np.full((12, 16, 2), 39 + self.runs, np.float32)}

    def postprocess(self, outputs: Outputs, placement: Placement) -> Image:
        self.seen.append(outputs["crcb"])
        return Image(placement.frame.pixels)

    def close(self) -> None:
        pass


class Live:
    """A camera at a steady rate, that shows the frames it was given."""

    def __init__(self, images: list[np.ndarray], period_s: float = 0.02) -> None:
        self.info = SourceInfo("live", live=True, fps=1 / period_s)
        self.signal = Signal.LIVE
        self._images, self._period_s, self._stopped = images, period_s, False

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._images):
            if self._stopped:
                return
            time.sleep(self._period_s)
            yield Frame(image, index=index, captured_ns=time.monotonic_ns(), source="live")

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        pass


def scene(seed: int, count: int) -> list[np.ndarray]:
    """A camera that moves slowly over a random image."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 18, 3), np.uint8)
    big = cv2.resize(coarse, (216, 144), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(big[i : i + 96, i : i + 128]) for i in range(count)]


def files(folder: Path, images: list[np.ndarray]) -> str:
    for i, image in enumerate(images):
        cv2.imwrite(str(folder / f"{i:03}.png"), image)
    return str(folder)


def test_keyframes_run_the_network_every_n_frames_and_propagate_between(tmp_path: Path) -> None:
    source = open_source(files(tmp_path, scene(0, 9)), sequence=True)
    task = Counting()
    stage = DenseStage(CHROMA, SteadyOptions.of("keyframe", every=4))
    flags = []
    Stream(source, Processor(task, stage)).run(lambda result: flags.append(result.keyframe))
    assert flags == [True, False, False, False] * 2 + [True]
    assert task.runs == 3
    # The second run says one grey level more; it comes in ninths, and not as a jump, and so does the third.
    middle = [float(seen[6, 8, 0]) for seen in task.seen]
    ninth = 1 / 9
    rising = [40 + part * ninth for part in range(1, 5)]
    expected = [40, 40, 40, 40, *rising, 40 + 4 * ninth + (2 - 4 * ninth) * ninth]
    assert np.allclose(middle, expected)


def test_blend_runs_the_network_on_every_frame_and_takes_half(tmp_path: Path) -> None:
    task = Counting()
    source = open_source(files(tmp_path, scene(0, 4)), sequence=True)
    Stream(source, Processor(task, DenseStage(CHROMA, SteadyOptions(mode="blend")))).run()
    assert task.runs == 4
    middle = [float(seen[6, 8, 0]) for seen in task.seen]
    assert np.allclose(middle, [40, 40.5, 41.25, 42.125])


def test_a_cut_takes_the_fresh_result_whole(tmp_path: Path) -> None:
    task = Counting()
    source = open_source(files(tmp_path, scene(0, 3) + scene(1, 3)), sequence=True)
    flags = []
    stage = DenseStage(CHROMA, SteadyOptions.of("keyframe", every=5))
    Stream(source, Processor(task, stage)).run(lambda result: flags.append(result.keyframe))
    assert flags == [True, False, False, True, False, False]
    assert [float(seen.mean()) for seen in task.seen] == [40] * 3 + [41] * 3


def test_independent_images_are_never_mixed(tmp_path: Path) -> None:
    task = Counting()
    source = open_source(files(tmp_path, scene(0, 3)))
    Stream(source, Processor(task, DenseStage(CHROMA, SteadyOptions(mode="keyframe")))).run()
    assert [float(seen.mean()) for seen in task.seen] == [40, 41, 42]


def test_live_frames_flow_on_while_the_network_is_busy() -> None:
    """The network takes five frame times; frames go on with the older result propagated to them."""
    images = scene(0, 30)
    task = Counting(pause_s=0.1)
    options = SteadyOptions(keyframes=KeyframeOptions(every=1), fade_frames=1)
    results = []
    stream = Stream(Live(images), Processor(task, DenseStage(CHROMA, options), live=True))
    stream.run(results.append)
    assert task.runs >= 3
    assert len(results) > 1.5 * task.runs  # five times as many on an idle machine
    assert stream.stats.keyframes < len(results)
    values = [float(seen[6, 8, 0]) for seen in task.seen]
    assert values[0] == 40
    assert np.all(np.diff(values) >= -1e-3)  # newer and newer runs
    assert values[-1] >= 40 + task.runs - 3


def test_live_after_a_cut_shows_no_color_rather_than_a_wrong_one() -> None:
    task = Counting(pause_s=0.15)
    stage = DenseStage(CHROMA, SteadyOptions(keyframes=KeyframeOptions(every=1)))
    Stream(Live(scene(0, 12) + scene(1, 25)), Processor(task, stage, live=True)).run()
    values = [float(seen[6, 8, 0]) for seen in task.seen]
    neutral = [i for i, value in enumerate(values) if value == 128]
    assert neutral
    assert neutral == list(range(neutral[0], neutral[-1] + 1))
    assert values[-1] < 60


def test_the_outputs_that_are_not_propagated_are_those_of_the_last_run() -> None:
    stage = DenseStage(CHROMA, SteadyOptions.of("keyframe", every=2))
    frame = Frame(scene(0, 1)[0])
    motion = stage.observe(frame)
    outputs = {"crcb": np.zeros((6, 8, 2), np.float32), "score": np.float32([0.5])}
    (first,) = stage.update(motion, Fresh(frame, outputs))
    assert first["score"] == 0.5
    (second,) = stage.update(stage.observe(Frame(frame.pixels, index=1)), None)
    assert second["score"] == 0.5
    assert stage.flush() == []


def test_the_output_without_a_neutral_value_shows_its_last_one_after_a_cut() -> None:
    """Until the network has looked at the new scene; gray chroma is better than wrong chroma, a gray image is not."""
    before, after = Frame(scene(0, 1)[0]), Frame(scene(1, 1)[0], index=1)
    shown = {}
    for neutral in (128.0, None):
        stage = DenseStage(PropagatedOutput(name="crcb", neutral=neutral), SteadyOptions.of("keyframe"))
        stage.update(stage.observe(before), Fresh(before, {"crcb": np.full((6, 8, 2), 50, np.float32)}))
        motion = stage.observe(after, may_run=False)
        assert not motion.keyframe
        shown[neutral] = stage.update(motion, None)[0]["crcb"]
    assert (shown[128.0] == 128).all()
    assert (shown[None] == 50).all()


def test_a_restart_forgets_whatever_the_images_look_like() -> None:
    stage = DenseStage(CHROMA, SteadyOptions.of("keyframe", every=4))
    image = scene(0, 1)[0]
    for index, restart in enumerate((True, False, True, False)):
        frame = Frame(image, index=index)
        motion = stage.observe(frame, restart=restart)
        assert (motion.keyframe, motion.restart) == (restart, restart)
        fresh = Fresh(frame, {"crcb": np.full((6, 8, 2), 50 * index, np.float32)}) if restart else None
        (shown,) = stage.update(motion, fresh)
    assert (shown["crcb"] == 100).all()  # no trace of the 0 before the restart


def test_what_is_handed_out_is_never_written_to_again() -> None:
    """A sink may keep a result as long as it likes."""
    stage = DenseStage(CHROMA, SteadyOptions.of("keyframe", every=2))
    kept = []
    for i, image in enumerate(scene(0, 6)):
        frame = Frame(image, index=i)
        motion = stage.observe(frame)
        fresh = Fresh(frame, {"crcb": np.full((12, 16, 2), 10 * i, np.float32)}) if motion.keyframe else None
        value = stage.update(motion, fresh)[0]["crcb"]
        kept.append((value, value.copy()))
    assert all(np.array_equal(value, copy) for value, copy in kept)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("every", ["3", "auto"])
def test_the_same_file_gives_the_same_bytes(tiny_bundle: Path, tmp_path: Path, every: str, live: bool) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    address = files(folder, scene(0, 10) + scene(1, 6))
    written = []
    for attempt in range(2):
        task = open_task(tiny_bundle)
        stage = task.make_stage(SteadyOptions.of("keyframe", every=every), live=live)
        out = tmp_path / f"out{attempt}"
        Stream(open_source(address, sequence=True), Processor.owning(task, stage), [f"{out}/"]).run()
        written.append([path.read_bytes() for path in sorted(out.iterdir())])
    assert len(written[0]) == 16
    assert written[0] == written[1]


def test_options_as_the_command_line_has_them() -> None:
    assert SteadyOptions.of("keyframe", every="auto").keyframes is None  # the stage knows best
    assert SteadyOptions.of("keyframe", every="7").keyframes.every == 7
    assert SteadyOptions.of("blend").mode == "blend"
    for mode, every in (("soft", None), ("keyframe", "often"), ("keyframe", "0"), ("blend", "4"), ("off", "4")):
        with pytest.raises(UsageError):
            SteadyOptions.of(mode, every=every)
    with pytest.raises(UsageError):
        SteadyOptions(fade_frames=0)
    with pytest.raises(UsageError):
        DenseStage(CHROMA, SteadyOptions(mode="off"))


@pytest.mark.parametrize(
    ("options", "live", "kind"),
    [
        (SteadyOptions(mode="off"), False, EveryFrame),
        (SteadyOptions(mode="off"), True, EveryFrame),
        (SteadyOptions(mode="blend"), False, DenseStage),
        (SteadyOptions(mode="keyframe"), True, DenseStage),
    ],
)
def test_a_dense_task_chooses_its_stage(
    tiny_bundle: Path, options: SteadyOptions, live: bool, kind: type[Stage]
) -> None:
    task = open_task(tiny_bundle)
    stage = task.make_stage(options, live=live)
    assert type(stage) is kind
    assert stage.lookahead == 0
    assert stage.every_frame == (options.mode == "off")
    task.close()


def test_what_auto_means() -> None:
    task = open_task("colorize")
    assert steady_options("auto", task).mode == "keyframe"
    assert steady_options("auto", task, independent=True).mode == "off"
    assert steady_options("blend", task, independent=True).mode == "blend"
    given = SteadyOptions(fade_frames=3)
    assert steady_options(given, task) is given
    with pytest.raises(UsageError, match="no steady mode"):
        steady_options("soft", task)
    task.close()
    nothing = Counting()
    nothing.propagated = None
    assert steady_options("auto", nothing).mode == "off"
