"""How many cores and servers a number of cameras takes, computed from parts that are measured here.

    python benchmarks/capacity.py CLIP --bundle colorize --cameras 1000

Measured: milliseconds of processor time a frame, on one core, for decoding, preparing (motion, resize), the network,
finishing (steadying, composition) and encoding, and the share of frames that the network runs on. Computed: all
beyond one stream. The model is in docs/guides/fleet.md.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from steadyframe.runtime.errors import SteadyframeError, UsageError
from steadyframe.runtime.io.sinks import open_sink
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.opencv_settings import one_opencv_thread
from steadyframe.runtime.opening import open_processor

BUSY = 0.7  # share of a machine that is planned for; the rest is for bursts
PARTS = ("decode", "prepare", "network", "finish", "encode")


def measure(clip: str, bundle: str, steady: str, limit: int) -> tuple[dict[str, float], float, float]:
    """One pass over a clip: processor milliseconds a frame of every part, share of keyframes, frames a second."""
    source = open_source(clip)
    fps = source.info.fps
    if fps is None:
        raise UsageError(f"{clip} says no frame rate", expected="a video")
    spent = dict.fromkeys(PARTS, 0.0)
    count = runs = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        open_processor(bundle, device="cpu", steady=steady, live=True, threads=1) as processor,
    ):
        sink = open_sink(str(Path(folder) / "out.mp4"), source.info)
        frames = islice(source, limit)
        marked = time.process_time()

        def lap(part: str) -> None:
            nonlocal marked
            now = time.process_time()
            spent[part] += 1e3 * (now - marked)
            marked = now

        for frame in frames:
            lap("decode")
            step = processor.prepare(frame)
            lap("prepare")
            inference = processor.infer(step) if step.runs else None
            runs += step.runs
            lap("network")
            results = processor.finish(step, inference)
            lap("finish")
            for result in results:
                sink.write(result)
            lap("encode")
            count += 1
        sink.close()
        lap("encode")
    source.close()
    return {part: total / count for part, total in spent.items()}, runs / count, fps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("clip")
    parser.add_argument("--bundle", default="colorize")
    parser.add_argument("--steady", default="auto")
    parser.add_argument("--cameras", type=int, default=1000)
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="of one machine of the fleet")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=200, help="frames of the clip")
    given = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    one_opencv_thread.enter()
    rounds = [measure(given.clip, given.bundle, given.steady, given.limit) for _ in range(given.rounds + 1)][1:]
    fps, share = rounds[0][2], statistics.median(one[1] for one in rounds)
    print(f"{given.bundle}, steady {given.steady}, {fps:.4g} frames a second, one core, {given.rounds} rounds")
    print(f"measured: the network runs on {100 * share:.0f} % of the frames")
    middle = {}
    for part in PARTS:
        times = sorted(one[0][part] for one in rounds)
        middle[part] = statistics.median(times)
        print(
            f"measured: {part:8} {middle[part]:7.2f} ms a frame of processor time ({times[0]:.2f} to {times[-1]:.2f})"
        )
    total = sum(middle.values())
    cores = fps * total / 1e3 / BUSY
    print(f"measured: all      {total:7.2f} ms a frame")
    print(f"computed: one camera takes {cores:.2f} cores at {100 * BUSY:.0f} % load, all parts on one machine")
    machines = math.ceil(given.cameras * cores / given.cores)
    all_cores = given.cameras * cores
    print(f"computed: {given.cameras} cameras take {all_cores:.0f} cores, {machines} machines of {given.cores}")
    server = given.cameras * fps * middle["network"] / 1e3 / BUSY
    edge = fps * (total - middle["network"]) / 1e3 / BUSY
    print(f"computed: with the network on servers, {server:.0f} cores there and {edge:.2f} at each camera")


if __name__ == "__main__":
    try:
        main()
    except SteadyframeError as error:
        sys.exit(str(error))
