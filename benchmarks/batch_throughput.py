"""Frames a second of `steadyframe batch` with some workers, against one run on one core.

    python benchmarks/batch_throughput.py CLIP [CLIP ...] --workers 2 --clips 8 --frames 300

Makes longer clips with scene changes out of the given ones, then runs, in turns: one process that is pinned to one
core and takes the clips one after the other (a `Stream` each, as `steadyframe run` has it, one thread of the
network), and a batch job with its workers. Both write the same H.264 files, and both have loaded the network before:
the seconds that the cluster takes to start are printed apart. `--check` writes both losslessly as well and compares
the decoded frames, hash by hash. `--simulate` measures every part of the job on one core and computes from them how
long more workers would take; that is a simulation, not a measurement: it knows nothing of disks and networks.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

import av
from steadyframe.runtime.batch import work
from steadyframe.runtime.batch.cluster import Cluster
from steadyframe.runtime.batch.driver import run_job
from steadyframe.runtime.batch.job import Job, JobFolder, clips_of
from steadyframe.runtime.batch.work import digest_of
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.io.encode import VideoPlan, VideoWriter
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.opencv_settings import one_opencv_thread

SCENE = 50  # frames of one source, before another one is cut to

# One core, one thread of the network: OpenCV, FFmpeg and x264 follow the affinity.
SINGLE = """
import os, sys, time
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_sessions
from steadyframe.runtime.io.sinks import open_sink
from steadyframe.runtime.io.sinks.video_options import VideoOptions
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.opening import steady_options
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.registry import build_task
name, quality, out, *clips = sys.argv[1:]
bundle = Bundle.load(name)
sessions = open_sessions(bundle, device="cpu", precision="fp32", threads=1)
options = VideoOptions(quality=int(quality) if quality != "-" else None)
frames, begun = 0, time.monotonic()
for clip in clips:
    source = open_source(clip)
    sink = open_sink(f"{out}/{os.path.basename(clip)}", source.info, video=options)
    task = build_task(bundle.manifest, sessions)
    processor = Processor.owning(task, task.make_stage(steady_options("auto", task), live=False))
    frames += Stream(source, processor, [sink]).run().frames
print(frames, time.monotonic() - begun)
"""


def make_clips(sources: list[str], folder: Path, count: int, frames: int, size_wh: tuple[int, int]) -> list[Path]:
    """Cut clips with scene changes, scaled to one size."""
    import cv2

    folder.mkdir()
    paths, taken = [], cycle(sources)
    for number in range(count):
        paths.append(folder / f"clip{number:02d}.mp4")
        writer = VideoWriter(paths[-1], size_wh, None, VideoPlan(fps=25, time_base=Fraction(1, 12800)))
        written = 0
        while written < frames:
            for frame in islice(open_source(next(taken)), min(SCENE, frames - written)):
                writer.write(cv2.resize(frame.pixels, size_wh, interpolation=cv2.INTER_AREA), written * 40_000_000)
                written += 1
        writer.finish()
    return paths


def single(bundle: str, clips: list[Path], out: Path, quality: int | None = None) -> tuple[int, float]:
    """Run one pinned process; give frames and seconds, without the start of Python and the loading."""
    out.mkdir(exist_ok=True)
    words = [bundle, "-" if quality is None else str(quality), str(out), *map(str, clips)]
    done = subprocess.run([sys.executable, "-c", SINGLE, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    frames, seconds = done.stdout.split()
    return int(frames), float(seconds)


def batch(
    cluster: Cluster, bundle: str, clips: list[Path], out: Path, quality: int | None = None
) -> tuple[int, float]:
    """Run a batch job; give frames and seconds."""
    job = Job(bundle=bundle, digest=digest_of(Bundle.load(bundle)), precision="fp32", device="cpu", quality=quality)
    begun = time.monotonic()
    outcome = run_job(job, clips_of(clips, out, job.suffixes), JobFolder(out, job), cluster)
    if outcome.failed:
        sys.exit(str(outcome.failed))
    return outcome.frames, time.monotonic() - begun


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds of the parts of one clip: planning, every segment, joining."""

    plan: float
    segments: tuple[float, ...]
    join: float


def parts_of(bundle: str, clip: Path, out: Path) -> Parts:
    """Measure the parts of one clip, one after the other in this process."""
    job = Job(bundle=bundle, digest=digest_of(Bundle.load(bundle)), precision="fp32", device="cpu")
    (described,) = clips_of([clip], out, job.suffixes)
    opened = JobFolder(out, job)
    opened.begin(described)
    folder = opened.segments(described)
    begun = time.monotonic()
    cut = work.plan(job, described, str(folder))
    planned = time.monotonic() - begun
    segments = []
    for start in cut.starts:
        begun = time.monotonic()
        work.work(job, described, str(folder), start)
        segments.append(time.monotonic() - begun)
    begun = time.monotonic()
    opened.finish(described, work.join(job, described, str(folder)))
    return Parts(planned, tuple(segments), time.monotonic() - begun)


def simulated(clips: list[Parts], workers: int) -> float:
    """Compute the seconds that workers take for clips: first come, first served, two clips a worker at a time."""
    now, free, waiting = 0.0, workers, list(range(len(clips)))
    queue: list[tuple[int, float, str]] = []
    running: list[tuple[float, int, str]] = []
    left = {number: len(parts.segments) for number, parts in enumerate(clips)}
    open_clips = 0
    while waiting or queue or running:
        while waiting and open_clips < 2 * workers:
            number = waiting.pop(0)
            queue.append((number, clips[number].plan, "plan"))
            open_clips += 1
        while queue and free:
            number, seconds, kind = queue.pop(0)
            heapq.heappush(running, (now + seconds, number, kind))
            free -= 1
        now, number, kind = heapq.heappop(running)
        free += 1
        if kind == "plan":
            queue += [(number, seconds, "work") for seconds in clips[number].segments]
        elif kind == "work":
            left[number] -= 1
            if not left[number]:
                queue.append((number, clips[number].join, "join"))
        else:
            open_clips -= 1
    return now


def simulate(bundle: str, clips: list[Path], out: Path, workers: list[int]) -> None:
    """Measure the parts of every clip, and print what more workers would bring for a hundred times as many clips."""
    one_opencv_thread.enter()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    parts_of(bundle, clips[0], out / "warm-up")
    measured = [parts_of(bundle, clip, out / "parts") for clip in clips]
    os.sched_setaffinity(0, before)
    one_opencv_thread.leave()
    plan, segments, join = (
        sum(one) for one in zip(*((p.plan, sum(p.segments), p.join) for p in measured), strict=True)
    )
    print(f"measured on one core: plan {plan:.1f} s, segments {segments:.1f} s, join {join:.1f} s")
    many = measured * 100
    alone = simulated(many, 1)
    for count in workers:
        print(f"simulated: {len(many)} clips, {count} workers: {alone / simulated(many, count):.1f} times one worker")


def hashes(path: Path) -> list[str]:
    """Hash of every decoded frame."""
    with av.open(str(path)) as container:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--bundle", default="colorize")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="compare the frames of lossless outputs")
    parser.add_argument("--simulate", type=int, nargs="+", metavar="WORKERS", help="such as 8 64 256")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        clips = make_clips(given.sources, root / "clips", given.clips, given.frames, (width, height))
        begun = time.monotonic()
        with Cluster(workers=given.workers) as cluster:
            batch(
                cluster, given.bundle, clips[: 2 * given.workers], root / "warm-up"
            )  # every worker loads the network
            print(f"{cluster.workers} workers had started and worked once after {time.monotonic() - begun:.1f} s")
            ratios = []
            for round_ in range(given.rounds):
                frames, one = single(given.bundle, clips, root / "single")
                worked, many = batch(cluster, given.bundle, clips, root / f"batch{round_}")
                assert worked == frames, (worked, frames)
                ratios.append(one / many)
                speeds = f"one run {frames / one:.1f} fps, batch {frames / many:.1f} fps"
                print(f"{frames} frames: {speeds}, {one / many:.2f} times", flush=True)
                shutil.rmtree(root / f"batch{round_}")
            low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
            print(f"median of {given.rounds} rounds: {middle:.2f} times ({low:.2f} to {high:.2f})")
            if given.simulate:
                simulate(given.bundle, clips, root / "simulation", given.simulate)
            if given.check:
                single(given.bundle, clips, root / "single0", 0)
                batch(cluster, given.bundle, clips, root / "batch0", 0)
                for clip in clips:
                    one_run, job = hashes(root / "single0" / clip.name), hashes(root / "batch0" / clip.name)
                    assert len(one_run) == given.frames and one_run == job, clip.name
                print(f"{given.clips} clips, {given.frames} frames each: every decoded frame is the same")


if __name__ == "__main__":
    main()
