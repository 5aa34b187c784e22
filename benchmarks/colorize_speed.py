"""`steadyframe run colorize CLIP out.mp4` against a hand-written loop with the same graphs, in one run.

The loop is what one writes in an afternoon: read, resize, run, Lab to BGR at full size, write, one after the other,
with ONNX Runtime's defaults. `off` runs the network on every frame, as the loop does; `keyframe` is what a clip gets
without any option. All write the same kind of video, and take turns, so that a slow moment of the machine hits all.
Usage::

    python benchmarks/colorize_speed.py ../shared/data/videos/webcam_bird.mkv
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np
import onnxruntime as ort

import steadyframe as sf


def naive_loop(clip: str, output: str) -> int:
    bundle = sf.Bundle.load("colorize")
    describe, color = (ort.InferenceSession(bundle.graph_bytes(role, "fp32")) for role in ("global", "color"))
    capture = cv2.VideoCapture(clip)
    size_wh = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    writer = cv2.VideoWriter(output, cv2.VideoWriter_fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size_wh)
    small_wh = (256, 192)
    frames = 0
    features = None
    while True:
        there, pixels = capture.read()
        if not there:
            break
        if frames % 30 == 0:
            crop = cv2.resize(pixels, (224, 224), interpolation=cv2.INTER_AREA)
            features = describe.run(None, {"frame": crop[None]})[0]
        small = cv2.resize(pixels, small_wh, interpolation=cv2.INTER_AREA)
        ab = color.run(None, {"frame": small[None], "global_features": features})[0][0]
        lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
        lab[..., 1:] = cv2.resize(ab, size_wh, interpolation=cv2.INTER_LINEAR)
        bgr = cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)
        writer.write((bgr.clip(0, 1) * 255).round().astype(np.uint8))
        frames += 1
    writer.release()
    return frames


def steadyframe_run(clip: str, output: str, steady: str) -> int:
    return sf.open_stream("colorize", clip, [output], precision="fp32", steady=steady).run().frames


def fps(run: Callable[[str, str], int], clip: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        frames = run(clip, str(Path(folder) / "out.mp4"))
        return frames / (time.perf_counter() - started)


@click.command()
@click.argument("clip", type=click.Path(exists=True))
@click.option("--rounds", default=7, show_default=True)
def main(clip: str, rounds: int) -> None:
    """Time all on CLIP; start-up (loading the graphs, opening the files) is counted."""
    runners: dict[str, Callable[[str, str], int]] = {"hand-written loop": naive_loop}
    for mode in ("off", "keyframe"):
        runners[f"steadyframe, {mode}"] = functools.partial(steadyframe_run, steady=mode)
    for run in runners.values():
        fps(run, clip)  # warm-up
    found: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, run in runners.items():
            found[name].append(fps(run, clip))
    click.echo(f"{Path(clip).name}, {rounds} rounds after one of warm-up")
    for name, values in found.items():
        ratios = [value / base for value, base in zip(values, found["hand-written loop"], strict=True)]
        click.echo(
            f"{name:22} {statistics.median(values):6.1f} fps  ({min(values):.1f} to {max(values):.1f}), "
            f"{statistics.median(ratios):.2f} times the loop ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
