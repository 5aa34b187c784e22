"""The temporal stage in a real stream: modes, determinism, cuts, late results."""

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
from steadyframe.runtime.opening import open_task
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.task import Feeds, Image, Outputs, Placement
from steadyframe.runtime.temporal.dense import DenseStage, SteadyOptions, open_steadier
from steadyframe.runtime.temporal.keyframes import KeyframeOptions
from steadyframe.runtime.temporal.stage import Fresh


class Counting:
    """A task whose chroma tells which run of the network it comes from: 40, 41, 42, …"""

    name = "counting"
    carried = "crcb"

    def __init__(self, pause_s: float = 0.0) -> None:
        self.runs = 0
        self.pause_s = pause_s
        self.seen: list[np.ndarray] = []

    def preprocess(self, frame: Frame) -> tuple[Feeds, Placement]:
        return {}, Placement(frame)

    def infer(self, feeds: Feeds) -> Outputs:
        time.sleep(self.pause_s)
        self.runs += 1
        return {"crcb": np.full((12, 16, 2), 39 + self.runs, np.float32)}

    def postprocess(self, outputs: Outputs, placement: Placement) -> Image:
        self.seen.append(outputs["crcb"])
        return Image(placement.frame.pixels)

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


class Live:
    """A camera at a steady rate, that shows the frames it was given."""

    def __init__(self, images: list[np.ndarray], period_s: float = 0.02) -> None:
        self.info = SourceInfo("live", live=True, fps=1 / period_s)
        self.signal = Signal.GOOD
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


def test_keyframes_run_the_network_every_n_frames_and_carry_in_between(tmp_path: Path) -> None:
    source = open_source(files(tmp_path, scene(0, 9)), sequence=True)
    task = Counting()
    steadier = DenseStage("crcb", SteadyOptions.of("keyframe", every=4))
    flags = []
    Stream(source, task, steadier=steadier).run(lambda result: flags.append(result.keyframe))
    assert flags == [True, False, False, False] * 2 + [True]
    assert task.runs == 3
    # The second run says one grey level more; it comes in ninths, and not as a jump, and so does the third.
    middle = [float(seen[6, 8, 0]) for seen in task.seen]
    ninth = 1 / 9
    expected = [
        40,
        40,
        40,
        40,
        *(40 + part * ninth for part in range(1, 5)),
        40 + 4 * ninth + (2 - 4 * ninth) * ninth,
    ]
    assert np.allclose(middle, expected)


def test_blend_runs_the_network_on_every_frame_and_takes_half(tmp_path: Path) -> None:
    task = Counting()
    source = open_source(files(tmp_path, scene(0, 4)), sequence=True)
    Stream(source, task, steadier=DenseStage("crcb", SteadyOptions(mode="blend"))).run()
    assert task.runs == 4
    middle = [float(seen[6, 8, 0]) for seen in task.seen]
    assert np.allclose(middle, [40, 40.5, 41.25, 42.125])


def test_a_cut_takes_the_fresh_result_whole(tmp_path: Path) -> None:
    task = Counting()
    source = open_source(files(tmp_path, scene(0, 3) + scene(1, 3)), sequence=True)
    flags = []
    steadier = DenseStage("crcb", SteadyOptions.of("keyframe", every=5))
    Stream(source, task, steadier=steadier).run(lambda result: flags.append(result.keyframe))
    assert flags == [True, False, False, True, False, False]
    assert [float(seen.mean()) for seen in task.seen] == [40] * 3 + [41] * 3


def test_independent_images_are_never_mixed(tmp_path: Path) -> None:
    task = Counting()
    source = open_source(files(tmp_path, scene(0, 3)))
    Stream(source, task, steadier=DenseStage("crcb", SteadyOptions(mode="keyframe"))).run()
    assert [float(seen.mean()) for seen in task.seen] == [40, 41, 42]


def test_live_frames_flow_on_while_the_network_is_busy() -> None:
    """The network takes five frame times; frames go on with the older result carried to them."""
    images = scene(0, 30)
    task = Counting(pause_s=0.1)
    options = SteadyOptions(keyframes=KeyframeOptions(every=1), fade_frames=1)
    results = []
    stream = Stream(Live(images), task, steadier=DenseStage("crcb", options))
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
    steadier = DenseStage("crcb", SteadyOptions(keyframes=KeyframeOptions(every=1)))
    Stream(Live(scene(0, 12) + scene(1, 25)), task, steadier=steadier).run()
    values = [float(seen[6, 8, 0]) for seen in task.seen]
    neutral = [i for i, value in enumerate(values) if value == 128]
    assert neutral
    assert neutral == list(range(neutral[0], neutral[-1] + 1))
    assert values[-1] < 60


def test_the_outputs_that_are_not_carried_are_those_of_the_last_run() -> None:
    steadier = DenseStage("crcb", SteadyOptions.of("keyframe", every=2))
    frame = Frame(scene(0, 1)[0])
    motion = steadier.observe(frame)
    outputs = {"crcb": np.zeros((6, 8, 2), np.float32), "score": np.float32([0.5])}
    assert steadier.steady(motion, Fresh(frame, outputs))["score"] == 0.5
    following = Frame(frame.pixels, index=1)
    assert steadier.steady(steadier.observe(following), None)["score"] == 0.5


def test_what_is_handed_out_is_never_written_to_again() -> None:
    """A sink may keep a result as long as it likes."""
    steadier = DenseStage("crcb", SteadyOptions.of("keyframe", every=2))
    kept = []
    for i, image in enumerate(scene(0, 6)):
        frame = Frame(image, index=i)
        motion = steadier.observe(frame)
        fresh = Fresh(frame, {"crcb": np.full((12, 16, 2), 10 * i, np.float32)}) if motion.keyframe else None
        value = steadier.steady(motion, fresh)["crcb"]
        kept.append((value, value.copy()))
    assert all(np.array_equal(value, copy) for value, copy in kept)


@pytest.mark.parametrize("every", ["3", "auto"])
def test_the_same_file_gives_the_same_bytes(tiny_bundle: Path, tmp_path: Path, every: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    address = files(folder, scene(0, 10) + scene(1, 6))
    written = []
    for attempt in range(2):
        task = open_task(tiny_bundle)
        steadier = open_steadier(task, SteadyOptions.of("keyframe", every=every))
        out = tmp_path / f"out{attempt}"
        Stream(open_source(address, sequence=True), task, [f"{out}/"], steadier=steadier).run()
        written.append([path.read_bytes() for path in sorted(out.iterdir())])
    assert len(written[0]) == 16
    assert written[0] == written[1]


def test_options_as_the_command_line_has_them() -> None:
    assert SteadyOptions.of("keyframe", every="auto").keyframes.every is None
    assert SteadyOptions.of("keyframe", every="7").keyframes.every == 7
    assert SteadyOptions.of("blend").mode == "blend"
    for mode, every in (("soft", None), ("keyframe", "often"), ("keyframe", "0"), ("blend", "4"), ("off", "4")):
        with pytest.raises(UsageError):
            SteadyOptions.of(mode, every=every)
    with pytest.raises(UsageError):
        SteadyOptions(fade_frames=0)
    with pytest.raises(UsageError):
        DenseStage("crcb", SteadyOptions(mode="off"))


def test_a_task_without_anything_to_carry_is_refused(tiny_bundle: Path) -> None:
    task = Counting()
    task.carried = None
    assert open_steadier(task, SteadyOptions(mode="off")) is None
    with pytest.raises(UsageError, match="counting"):
        open_steadier(task, SteadyOptions())
    assert isinstance(open_steadier(open_task(tiny_bundle), SteadyOptions()), DenseStage)
