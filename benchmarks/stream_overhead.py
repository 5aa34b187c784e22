"""What a stream itself costs a frame: threads, queues and bookkeeping around a task that does nothing.

The baseline is the plain loop ``preprocess, infer, postprocess, write`` over the same frames in one thread. All run
several times in turn; the medians and their spread are printed.

    python benchmarks/stream_overhead.py [--frames 5000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.info import Signal, SourceInfo
from steadyframe.runtime.io.sinks.null import NullSink
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.task import Image, Placement, Result
from steadyframe.runtime.temporal.options import PropagatedOutput, SteadyOptions
from steadyframe.runtime.temporal.stage import EveryFrame, Motion

LIMIT_MS = 0.3


class Still:
    """One image, over and over, without decoding."""

    def __init__(self, frames: int) -> None:
        self.info = SourceInfo("still", fps=30.0, count=frames)
        self.signal = Signal.LIVE
        self._pixels = np.zeros((480, 640, 3), np.uint8)

    def __iter__(self):
        for index in range(self.info.count or 0):
            yield Frame(self._pixels, index, time.monotonic_ns(), "still")

    def stop(self) -> None:
        """Nothing to interrupt."""

    def close(self) -> None:
        """Nothing is held open."""


class Nothing:
    """A task that hands the frame on."""

    name, propagated, device = "nothing", PropagatedOutput(name="frame"), "none"

    def make_stage(self, options, *, live=False):
        """Run on every frame, or on every fourth."""
        return EveryFrame() if options.mode == "off" else EveryFourth()

    def preprocess(self, frame, motion=None):
        """Hand the frame on."""
        return {"frame": frame.pixels}, Placement(frame)

    def infer(self, feeds):
        """Hand the feeds on."""
        return feeds

    def postprocess(self, outputs, placement):
        """Hand the outputs on."""
        return Image(outputs["frame"])

    def close(self) -> None:
        """Nothing is held."""


class EveryFourth:
    """A stage that asks for a keyframe every four frames, and does no work."""

    lookahead, every_frame = 0, False

    def __init__(self) -> None:
        self._held = {}

    def observe(self, frame, *, may_run=True, restart=False):
        """Ask for a keyframe every four frames."""
        return Motion(frame, keyframe=restart or (may_run and frame.index % 4 == 0), restart=restart)

    def update(self, motion, fresh):
        """Hold what the network gave last."""
        self._held = fresh.outputs if fresh is not None else self._held
        return [self._held]

    def flush(self):
        """Nothing is held back."""
        return []


def loop_ms(frames: int) -> float:
    """Milliseconds a frame of a hand-written loop."""
    task, sink = Nothing(), NullSink()
    started = time.perf_counter()
    for frame in Still(frames):
        feeds, placement = task.preprocess(frame)
        sink.write(Result(frame, task.postprocess(task.infer(feeds), placement)))
    return (time.perf_counter() - started) / frames * 1e3


def processor_ms(frames: int) -> float:
    """Milliseconds a frame of a processor, in one thread."""
    sink = NullSink()
    started = time.perf_counter()
    with Processor(Nothing()) as processor:
        for result in processor.process_all(Still(frames)):
            sink.write(result)
    return (time.perf_counter() - started) / frames * 1e3


def stream_ms(frames: int, *, steady: bool) -> float:
    """Milliseconds a frame of a stream."""
    task = Nothing()
    stage = task.make_stage(SteadyOptions(mode="keyframe" if steady else "off"))
    stream = Stream(Still(frames), Processor(task, stage), [NullSink()])
    started = time.perf_counter()
    stats = stream.run()
    assert stats.frames == frames
    return (time.perf_counter() - started) / frames * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    runs = {
        "plain loop": loop_ms,
        "processor": processor_ms,
        "stream": lambda frames: stream_ms(frames, steady=False),
        "stream, keyframes": lambda frames: stream_ms(frames, steady=True),
    }
    for run in runs.values():
        run(given.frames // 5)  # warm-up
    spent = {name: [] for name in runs}
    for _ in range(given.rounds):
        for name, run in runs.items():
            spent[name].append(run(given.frames))
    baseline = statistics.median(spent["plain loop"])
    print(f"{given.rounds} rounds of {given.frames} frames; ms a frame")
    for name, samples in spent.items():
        median = statistics.median(samples)
        spread = f"min {min(samples):.4f}  max {max(samples):.4f}"
        print(f"{name:18s} median {median:.4f}  {spread}  over the loop {median - baseline:+.4f}")
    over = statistics.median(spent["stream"]) - baseline
    verdict = "below" if over < LIMIT_MS else "ABOVE"
    print(f"the stream costs {over:.3f} ms a frame, {verdict} the limit of {LIMIT_MS} ms")


if __name__ == "__main__":
    main()
