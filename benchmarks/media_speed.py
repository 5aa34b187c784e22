"""Speed of whole runs of the command line, this tree and an older one in turns: `media_speed.py OLD_STEADYFRAME`.

OLD_STEADYFRAME is the command `steadyframe` of another environment, such as a checkout of an earlier commit. The clip
is made of a real one at the size named; a folder of images is taken as it is. Prints frames a second (best of the
turns), the ratio, and where the time of a frame goes.

    python benchmarks/media_speed.py ../before/.venv/bin/steadyframe --clip CLIP --task colorize --size 1280x720
    python benchmarks/media_speed.py ../before/.venv/bin/steadyframe --clip FOLDER --task colorize --steady off
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av

NEW = str(Path(sys.executable).with_name("steadyframe"))


def make_clip(source: Path, target: Path, size: tuple[int, int], frames: int) -> None:
    """Encode a clip at a size, H.264 as a phone or a camera gives it."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        stream = made.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        done = 0
        while done < frames:
            for frame in given.decode(video=0):
                small = frame.reformat(*size, format="yuv420p")
                small.pts, small.time_base = done, Fraction(1, 25)
                made.mux(stream.encode(small))
                done += 1
                if done == frames:
                    break
            given.seek(0)
        made.mux(stream.encode(None))


def measure(command: str, words: list[str], folder: Path) -> dict[str, object]:
    """Run once; returns the figures, with the processor time of a frame, `cpu_ms`, without that of the start."""
    stats = folder / "stats.json"
    line = [command, "run", *words, "--device", "cpu"]
    spent = []
    for further in (["--limit", "2"], ["--stats", str(stats)]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*line, *further], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    found = json.loads(stats.read_text())
    return found | {"cpu_ms": 1000 * (spent[1] - spent[0]) / found["frames"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", help="the older command")
    parser.add_argument("--clip", type=Path, required=True, help="a real clip to encode at the size, or images")
    parser.add_argument("--task", default="colorize")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--steady", default="keyframe")
    parser.add_argument("--output", default="null://")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = given.clip
        if not clip.is_dir():
            clip = folder / "clip.mp4"
            make_clip(given.clip, clip, (width, height), given.frames)
        output = given.output if "://" in given.output else str(folder / given.output)
        words = [given.task, str(clip), output, "--steady", given.steady]
        speeds: dict[str, list[float]] = {"old": [], "new": []}
        last: dict[str, dict[str, object]] = {}
        for _ in range(given.turns):
            for label, command in (("old", given.old), ("new", NEW)):
                last[label] = measure(command, words, folder)
                speeds[label].append(float(last[label]["fps"]))  # type: ignore[arg-type]
    for label, found in speeds.items():
        spread = " ".join(f"{value:.0f}" for value in sorted(found))
        print(f"{label}: best {max(found):.0f} fps; all {spread}")
    ratios = sorted(new / old for new, old in zip(speeds["new"], speeds["old"], strict=True))
    print(f"ratio of the best {max(speeds['new']) / max(speeds['old']):.2f}, of each turn "
          f"{ratios[0]:.2f} to {ratios[-1]:.2f}, median {ratios[len(ratios) // 2]:.2f}")  # fmt: skip
    for label in speeds:
        print(f"{label}: {last[label]['cpu_ms']:.2f} ms of processor time a frame in the last turn")
        stages = last[label]["stages_ms"]
        print(label, json.dumps(stages))


if __name__ == "__main__":
    main()
