"""Twenty clips, one of them broken; workers and the driver are killed at random moments.

    python benchmarks/batch_chaos.py CLIP [CLIP ...] --clips 20 --kill 3

Makes short clips out of the given ones, starts `steadyframe batch` with two workers, kills workers (SIGKILL) at
random moments, kills the driver once, starts it again, and checks what is left: every good clip complete, each of its
frames once and in order, the broken one reported, exit code 5. Exit code 1 if any of that does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

import av
from steadyframe.runtime.batch.job import FOLDER
from steadyframe.runtime.io.encode import VideoPlan, VideoWriter
from steadyframe.runtime.io.sources import open_source

SCENE = 24  # frames of one source, before another one is cut to


def make_clips(sources: list[str], folder: Path, count: int, frames: int) -> dict[str, int]:
    """Cut short clips with scene changes, the last of them cut off; give name -> frames of the good ones."""
    folder.mkdir()
    lengths = {}
    taken = cycle(sources)
    for number in range(count):
        path = folder / f"clip{number:02d}.mp4"
        writer: VideoWriter | None = None
        written = 0
        while written < frames + number % 5:
            for frame in islice(open_source(next(taken)), SCENE):
                pixels = frame.pixels[:360, :640]
                if writer is None:
                    plan = VideoPlan(fps=25, time_base=Fraction(1, 25))
                    writer = VideoWriter(path, (pixels.shape[1], pixels.shape[0]), None, plan)
                writer.write(pixels, written * 40_000_000)
                written += 1
        assert writer is not None
        writer.finish()
        lengths[path.stem] = written
    broken = folder / f"clip{count - 1:02d}.mp4"
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    del lengths[broken.stem]
    return lengths


def descendants(process: int) -> list[int]:
    """Find the processes below a process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue  # it has ended meanwhile
    found = [process]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found[1:]


def busy_workers(driver: int) -> list[int]:
    """Workers of a driver that plan, work or join right now; Ray names them by their function."""
    found = []
    for process in descendants(driver):
        try:
            line = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            continue
        if line.startswith((b"ray::work", b"ray::join", b"ray::plan")):
            found.append(process)
    return found


def start(clips: Path, out: Path, bundle: str) -> subprocess.Popen[bytes]:
    """Start the driver."""
    code = "from steadyframe.runtime.commands import main; main()"
    words = ["batch", bundle, str(clips / "*.mp4"), str(out), "--workers", "2", "--to", "mp4", "--to", "jsonl"]
    command = [sys.executable, "-c", code, *words, "--segment", str(SCENE), "--precision", "fp32"]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def kill_workers(driver: subprocess.Popen[bytes], count: int, chance: random.Random) -> int:
    """Kill busy workers at random moments, until so many are dead or the driver has ended."""
    killed = 0
    while killed < count and driver.poll() is None:
        time.sleep(chance.uniform(0.2, 3.0))
        workers = busy_workers(driver.pid)
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)
            killed += 1
            print(f"killed a worker ({killed})", flush=True)
    return killed


def faults(out: Path, lengths: dict[str, int]) -> list[str]:
    """Find what is not as it must be."""
    found = []
    for name, frames in lengths.items():
        try:
            lines = [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]
            with av.open(str(out / f"{name}.mp4")) as container:
                times = [frame.pts for frame in container.decode(video=0)]
        except (OSError, av.FFmpegError) as error:
            found.append(f"{name}: {error}")
            continue
        if [line["index"] for line in lines] != list(range(frames)):
            found.append(f"{name}: {len(lines)} lines for {frames} frames")
        if len(times) != frames or times != sorted(set(times)):
            found.append(f"{name}: {len(times)} frames in the video, {frames} in the clip")
    made = {path.stem for path in out.iterdir() if path.name != FOLDER}
    if made != set(lengths):
        found.append(f"outputs of {sorted(made ^ set(lengths))}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--bundle", default="colorize")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--kill", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        clips, out = Path(name) / "clips", Path(name) / "out"
        lengths = make_clips(given.sources, clips, given.clips, given.frames)
        begun = time.monotonic()
        driver = start(clips, out, given.bundle)
        killed = kill_workers(driver, given.kill, chance)
        time.sleep(chance.uniform(0.5, 3.0))
        early = driver.poll() is not None
        driver.kill()
        driver.wait()
        manifest = json.loads((out / FOLDER / "job.json").read_text())
        done = sum(bool(entry.get("done")) for entry in manifest["clips"].values())
        print(f"killed the driver after {time.monotonic() - begun:.0f} s, {done} clips were complete", flush=True)
        again = start(clips, out, given.bundle)
        _, said = again.communicate()
        found = faults(out, lengths)
        if again.returncode != 5 or f"clip{given.clips - 1:02d}" not in said.decode():
            found.append(f"exit code {again.returncode}: {said.decode()[-500:]}")
        if killed < given.kill or early:
            found.append(f"only {killed} workers were killed before the job had ended: take more or longer clips")
        print(f"{len(lengths)} good clips, {sum(lengths.values())} frames, {time.monotonic() - begun:.0f} s in all")
    for fault in found:
        print(f"WRONG: {fault}")
    print("every good clip is complete, each frame once; the broken one was reported" if not found else "")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
