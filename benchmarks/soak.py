"""Many frames through each task, to see whether memory grows or the rate falls.

Each task runs in a process of its own, on a moving clip that is held in memory, through a whole stream with a sink.
Resident memory (without file mappings that the kernel may drop) is sampled every 500 frames. The slope is a
least-squares line over all samples after the first tenth.

    python benchmarks/soak.py --frames 100000 --size 160x120 --plot docs/images/soak.png
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import numpy as np

SAMPLE_EVERY = 500
TASKS = ("colorize", "pose", "stylize-wave", "policy-montezuma")
LIMIT_MB = 1.0  # a 10,000 frames
LIMIT_RATE = 0.97


def resident_mb() -> float:
    """Anonymous resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no /proc/self/status: the soak test runs on Linux")


def run_one(task: str, frames: int, size: str, steady: str) -> None:
    """Run one task; prints its samples as JSON."""
    import steadyframe as sf

    if task.startswith("policy"):
        size = "160x210"  # of the game's screen
    images = [frame.pixels.copy() for frame in sf.open_source(f"sample://?size={size}&frames=300")]
    count = 0

    class Clip:
        """The frames of the clip, over and over."""

        info = type(sf.open_source("test://").info)("clip", fps=30.0, count=frames)
        signal = sf.Signal.LIVE

        def __iter__(self):
            for index in range(frames):
                yield sf.Frame(images[index % len(images)], index, source="clip", time_ns=index * 33_333_333)

        def stop(self) -> None:
            """Nothing to interrupt."""

        def close(self) -> None:
            """Nothing is held open."""

    samples: list[tuple[int, float, float]] = []
    mode = "off" if task.startswith("policy") else steady
    stream = sf.open_stream(task, Clip(), ["null://"], steady=mode, precision="fp32", threads=1)
    with stream:
        for _ in stream:
            count += 1
            if count % SAMPLE_EVERY == 0:
                samples.append((count, time.perf_counter(), resident_mb()))
    print(json.dumps(samples))


def judged(samples: list[tuple[int, float, float]]) -> tuple[float, float, float, float]:
    """Slope in MB a 10,000 frames after warm-up, the rates of the first and last fifth, and the last memory."""
    array = np.array(samples)
    warm = array[len(array) // 10 :]
    slope = float(np.polyfit(warm[:, 0], warm[:, 2], 1)[0]) * 10_000
    part = max(2, len(warm) // 5)

    def rate(rows: np.ndarray) -> float:
        steps = np.diff(rows[:, 1])
        return SAMPLE_EVERY / float(
            np.median(steps)
        )  # of the median sample: a busy second of the machine is no trend

    return slope, rate(warm[:part]), rate(warm[-part:]), float(array[-1, 2])


def plot(path: Path, results: dict[str, list[tuple[int, float, float]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    for task, samples in results.items():
        array = np.array(samples)
        left.plot(array[:, 0] / 1000, array[:, 2], label=task)
        rates = SAMPLE_EVERY / np.diff(array[:, 1])
        width = max(1, len(rates) // 40)
        smooth = np.convolve(rates, np.ones(width) / width, "valid")
        right.plot(array[1 : len(smooth) + 1, 0] / 1000, smooth, label=task)
    most = max(memory for samples in results.values() for _, _, memory in samples)
    left.set(xlabel="thousand frames", ylabel="memory, MB", ylim=(0, 1.25 * most))
    right.set(xlabel="thousand frames", ylabel="frames a second", ylim=(0, None))
    left.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--size", default="160x120")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--steady", default="keyframe")
    parser.add_argument("--jobs", type=int, default=1, help="tasks at a time, each on a core of its own")
    parser.add_argument("--plot", type=Path, default=None)
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options.one, options.frames, options.size, options.steady)
        return
    results: dict[str, list[tuple[int, float, float]]] = {}
    free: Queue[int] = Queue()
    for core in sorted(os.sched_getaffinity(0)):
        free.put(core)

    def run(task: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, __file__, "--one", task, "--frames", str(options.frames), "--size", options.size]
        command += ["--steady", options.steady]
        if options.jobs == 1:
            return subprocess.run(command, capture_output=True, text=True, check=False)
        core = free.get()  # a core each, so that they do not take turns
        command = ["taskset", "--cpu-list", str(core), *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        free.put(core)
        return done

    print(f"{options.frames} frames of {options.size}, steady {options.steady}")
    print("task              MB a 10,000 frames   fps first fifth   last fifth   ratio   MB at the end")
    with ThreadPoolExecutor(options.jobs) as pool:
        ends = list(pool.map(run, options.tasks))
    for task, done in zip(options.tasks, ends, strict=True):
        if done.returncode != 0:
            print(f"{task}: {done.stderr.strip().splitlines()[-1]}")
            continue
        results[task] = json.loads(done.stdout.splitlines()[-1])
        slope, first, last, memory = judged(results[task])
        bad = " MEMORY GROWS" * (slope > LIMIT_MB) + " GETS SLOWER" * (last < LIMIT_RATE * first)
        print(
            f"{task:17s} {slope:18.3f} {first:17.1f} {last:12.1f} {last / first:7.3f} {memory:15.0f}{bad}", flush=True
        )
    if options.plot is not None and results:
        plot(options.plot, results)


if __name__ == "__main__":
    main()
