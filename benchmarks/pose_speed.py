"""Frames a second of the pose task and of MediaPipe Pose full (video mode), in turns, on the same clip.

Both decode the clip with OpenCV and give every frame's joints; nothing is drawn or written. `--rivals-python` is a
Python with mediapipe==0.10.21 (see `pose_mediapipe.py`). Usage::

    python benchmarks/pose_speed.py ../shared/data/videos/webcam_hungry.mkv --rivals-python mp/bin/python
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import click

import steadyframe as sf

WORKER = Path(__file__).with_name("pose_mediapipe.py")


class Rival:
    """MediaPipe in a process of its own."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def play(self, clip: str, limit: int) -> dict:
        """Play a clip; see the worker for what comes back."""
        return self._ask(f"{Path(clip).resolve()} {limit}")

    def look(self, images: list[Path]) -> list:
        """Find the joints of independent images, in pixels with their visibility; None where nobody is found."""
        return self._ask("images " + json.dumps([str(path.resolve()) for path in images]))

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def ours(bundle: sf.Bundle, clip: str, limit: int, mode: str, device: str) -> tuple[float, int]:
    source = sf.open_source(clip)
    first = next(iter(source))
    source.close()
    stream = sf.open_stream(bundle, clip, ["null://"], steady=mode, limit=limit, device=device)
    stream.processor.process(first)  # the first run plans memory
    stream.processor.reset()
    started = time.perf_counter()
    stats = stream.run()
    return time.perf_counter() - started, stats.frames


@click.command()
@click.argument("clip", type=click.Path(exists=True))
@click.option("--bundle", default="pose", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--rivals-python", type=click.Path(exists=True), help="A Python with mediapipe==0.10.21.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--limit", default=300, show_default=True)
def main(clip: str, bundle: str, device: str, rivals_python: str | None, rounds: int, limit: int) -> None:
    """Time every mode on CLIP, in turns."""
    loaded = sf.Bundle.load(bundle)
    rival = None if rivals_python is None else Rival(rivals_python)
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for turn in range(rounds + 1):  # the first turn warms up
        if turn == 1:
            found.clear()
        if rival is not None:
            played = rival.play(clip, limit)
            note("mediapipe full", len(played["joints"]) / played["seconds"])
            note("mediapipe full, network call alone", len(played["joints"]) / played["network"])
        for mode in ("off", "blend", "keyframe"):
            seconds, frames = ours(loaded, clip, limit, mode, device)
            note(f"steadyframe --steady {mode}", frames / seconds)
    if rival is not None:
        rival.close()
    for name, values in found.items():
        ratio = ""
        if rival is not None and name.startswith("steadyframe"):
            ratios = [a / b for a, b in zip(values, found["mediapipe full"], strict=True)]
            ratio = f"   {statistics.median(ratios):.2f} x mediapipe ({min(ratios):.2f} .. {max(ratios):.2f})"
        spread = f"({min(values):.1f} .. {max(values):.1f})"
        print(f"{name:40s} {statistics.median(values):7.1f} fps {spread:>18s}{ratio}")


if __name__ == "__main__":
    main()
