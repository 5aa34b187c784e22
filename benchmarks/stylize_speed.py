"""Frames a second of a stylize bundle against its per-frame teacher, in one run.

The teacher runs alone in ONNX Runtime on frames that are decoded already; Steadyframe decodes, measures flow,
stylizes and composes. They take turns, so that a slow moment of the machine hits all. Usage::

    python benchmarks/stylize_speed.py stylize-wave ../shared/data/videos/webcam_bird.mkv \
        --teacher ../shared/data/teachers/style/wave.onnx
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import click
import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

import steadyframe as sf

MODES = ("off", "blend", "keyframe")


def read(clip: str, count: int) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(clip)
    found = [capture.read() for _ in range(count)]
    return [pixels for there, pixels in found if there]


def teacher_fps(session: ort.InferenceSession, frames: list[NDArray[np.uint8]]) -> float:
    started = time.perf_counter()
    for pixels in frames:
        height, width = (side // 4 * 4 for side in pixels.shape[:2])
        rgb = pixels[:height, :width, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        session.run(None, {"rgb": rgb})
    return len(frames) / (time.perf_counter() - started)


def stream_fps(bundle: str, clip: str, mode: str) -> float:
    started = None
    frames = 0
    for _ in sf.open_stream(bundle, clip, ["null://"], steady=mode):
        started = started or time.perf_counter()  # the first result pays for starting up
        frames += 1
    assert started is not None
    return (frames - 1) / (time.perf_counter() - started)


@click.command()
@click.argument("bundle")
@click.argument("clip", type=click.Path(exists=True))
@click.option("--teacher", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--teacher-frames", default=4, show_default=True, help="Frames a round for the teacher.")
def main(bundle: str, clip: str, teacher: Path, rounds: int, teacher_frames: int) -> None:
    """Time BUNDLE in every mode, and its teacher, on CLIP."""
    session = ort.InferenceSession(teacher, providers=["CPUExecutionProvider"])
    frames = read(clip, teacher_frames)
    found: dict[str, list[float]] = {"teacher": [], **{mode: [] for mode in MODES}}
    for round_number in range(rounds + 1):
        figures = {"teacher": teacher_fps(session, frames)} | {mode: stream_fps(bundle, clip, mode) for mode in MODES}
        if round_number:  # the first one warms up
            for name, value in figures.items():
                found[name].append(value)
    height, width = frames[0].shape[:2]
    click.echo(f"{bundle} on {Path(clip).name}, {width}x{height}, {rounds} rounds after one of warm-up")
    click.echo("| | fps (lowest to highest) | times the teacher (lowest to highest) |\n|---|---|---|")
    for name, values in found.items():
        ratios = [value / base for value, base in zip(values, found["teacher"], strict=True)]
        spread = f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"
        times = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        click.echo(f"| {name if name == 'teacher' else '--steady ' + name} | {spread} | {times} |")


if __name__ == "__main__":
    main()
