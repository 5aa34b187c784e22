"""Several runs of the network at once: the same results in the same order, and an error that ends the stream."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from live_and_noting import Camera
from steadyframe.runtime import opening
from steadyframe.runtime.engines.registry import processors, runs_at_once
from steadyframe.runtime.errors import DeviceError
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.task import Placement

import steadyframe as sf

CLIP = "test://?size=160x120&frames=24"


def pixels(at_once: int, steady: str = "off") -> list[np.ndarray]:
    processor = sf.open_processor(
        "colorize", steady=steady, live=False, device="cpu", threads=1, options={"global_every": 5}
    )
    with Stream(CLIP, processor, at_once=at_once) as stream:
        return [result.output.pixels for result in stream]


@pytest.mark.parametrize("steady", ["off", "blend", "keyframe"])
def test_runs_at_once_give_what_runs_in_turn_give(steady: str) -> None:
    alone, together = pixels(1, steady), pixels(4, steady)
    assert len(together) == 24
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


class Slow:
    """A task whose first frames take longest, and whose runs must meet."""

    name = "slow"
    device = "cpu"
    propagated = None

    def __init__(self, *, fails_at: int = -1) -> None:
        self.inside, self.most, self.fails_at = 0, 0, fails_at
        self.lock = threading.Lock()

    def make_stage(self, options, *, live=False):
        raise NotImplementedError

    def preprocess(self, frame, motion=None):
        return {"index": frame.index}, Placement(frame)

    def infer(self, feeds):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(0.03 if feeds["index"] % 4 == 0 else 0.005)
        with self.lock:
            self.inside -= 1
        if feeds["index"] == self.fails_at:
            raise DeviceError("The run failed")
        return {"index": np.array(feeds["index"])}

    def postprocess(self, outputs, placement):
        return int(outputs["index"])

    def close(self) -> None:
        pass


def test_outputs_come_in_order_though_later_runs_end_first() -> None:
    task = Slow()
    with Stream(CLIP, Processor(task), at_once=4) as stream:
        assert [result.output for result in stream] == list(range(24))
    assert task.most > 1


def test_a_run_that_fails_ends_the_stream_after_the_frames_before_it() -> None:
    seen = []
    stream = Stream(CLIP, Processor(Slow(fails_at=9)), at_once=4)
    with pytest.raises(DeviceError, match="The run failed"), stream:
        seen.extend(result.output for result in stream)
    assert seen == list(range(len(seen)))
    assert len(seen) <= 9


def test_a_live_source_has_one_run_at_a_time() -> None:
    task = Slow()
    with Stream(Camera(frames=24), Processor(task), at_once=4) as stream:
        found = [result.output for result in stream]
    assert found == sorted(found)
    assert task.most == 1


def test_the_cores_are_divided_between_runs() -> None:
    bundle = sf.Bundle.load("colorize")
    runs, threads = opening.shared_cores(bundle, "cpu", "off")
    assert runs == runs_at_once("cpu", 8) == min(8, processors())
    assert runs * max(1, threads) <= max(1, processors())
    assert opening.shared_cores(sf.Bundle.load("pose"), "cpu", "off") == (1, 0)  # a run needs the one before
