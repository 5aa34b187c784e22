"""What the stylizer's normalization costs and gains: batch norm, standardised weights, instance norm.

The three networks get the same steps on the same scenes, from fresh weights; then each is exported and asked

* how far it is from the teacher (style) and how much it flickers, on clips that it did not see;
* what it changes at the left edge of an image whose right half goes black: instance norm, whose statistics are the
  whole frame's, repaints everything, which a moving camera shows as pumping and as bubbles;
* what float16 and int8 leave of it, and how many nodes had to stay float32 for that;
* how long one run takes, as a ratio to batch norm, in turns.

Usage, about ten minutes a network on one core::

    python benchmarks/stylize_norms.py --data ../shared/data --work runs/norms

A run that was cut goes on where it was.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from steadyframe.calibration.diversity import diverse_frames
from steadyframe.calibration.precision import make_precision
from steadyframe.export.bundle import BundleFacts, export_bundle
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.stylize.net import NORMS
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.engines.session import Session
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source

CLIPS = ("webcam_brother.mkv", "davis_dog.mp4", "webcam_bird.mkv")
TITLES = (
    *("norm", "style off", "flicker webcam", "flicker DAVIS", "change far away (levels)"),
    *("fp16 dB", "fp16 kept", "int8 dB", "int8 kept", "time to batch's (10 to 90 %)"),
)


def train(norm: str, data: Path, work: Path, more: list[str]) -> Checkpoint:
    """Train one network, or take the one that is there."""
    out = work / norm
    final = out / "wave.pt"
    if not final.exists():
        words = ["train", "stylize", "--style", "wave", "--data", str(data), "--out", str(out), "--norm", norm, *more]
        subprocess.run([Path(sys.executable).with_name("steadyframe"), *words], check=True)
    return Checkpoint.load(final, task="stylize")


def frames_of(data: Path) -> list[Frame]:
    """Frames of three clips, spread over time."""
    frames: list[Frame] = []
    for clip in CLIPS:
        source = open_source(str(data / "videos" / clip))
        frames += islice(source, 0, 48, 3)
        source.close()
    return frames


def paint(session: Session, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint one image as a first frame."""
    height, width = (side // 8 * 8 for side in pixels.shape[:2])
    frame = np.ascontiguousarray(pixels[None, :height, :width])
    feeds = {"frame": frame, "previous": np.zeros_like(frame), "mask": np.zeros_like(frame[..., :1])}
    return session.run(feeds)["styled"][0]


def far_change(session: Session, frames: list[Frame]) -> float:
    """Mean absolute change of the left eighth, in levels, when the right half goes black."""
    changes = []
    for frame in frames[::6]:
        covered = frame.pixels.copy()
        covered[:, covered.shape[1] // 2 :] = 0
        edge = frame.pixels.shape[1] // 8
        before, after = (paint(session, pixels)[:, :edge].astype(float) for pixels in (frame.pixels, covered))
        changes.append(np.abs(after - before).mean())
    return float(np.mean(changes))


def times(sessions: dict[str, Session], frame: Frame, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a run, in turns, the first rounds left out."""
    found: dict[str, list[float]] = {name: [] for name in sessions}
    for number in range(rounds + 3):
        for name, session in sessions.items():
            started = time.perf_counter()
            paint(session, frame.pixels)
            if number >= 3:
                found[name].append(1000 * (time.perf_counter() - started))
    return found


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--steps", default=800, show_default=True, help="Of training, each.")
@click.option("--pool", default=1200, show_default=True, help="Scenes that all three see.")
@click.option("--rounds", default=30, show_default=True, help="Of timing.")
def main(data: Path, work: Path, steps: int, pool: int, rounds: int) -> None:
    """Train, export and compare; print the table."""
    more = f"--steps {steps} --pool {pool} --size 224 --batch 6 --clips 2 --validate-every {steps}".split()
    rows: dict[str, dict[str, Any]] = {}
    sessions: dict[str, Session] = {}
    frames = frames_of(data)
    for norm in NORMS:
        checkpoint = train(norm, data, work, more)
        bundle: Bundle = export_bundle(checkpoint, work / norm / "bundle", BundleFacts(name=f"stylize-{norm}"))
        session = sessions[norm] = open_session(bundle, "stylize", device="cpu")
        rows[norm] = {name: checkpoint.metrics[name] for name in ("style", "flicker_webcam", "flicker_davis")}
        rows[norm]["far"] = far_change(session, frames)
        selection = diverse_frames(iter(frames), 24)
        for precision in ("fp16", "int8"):
            outcome = make_precision(bundle, selection, precision)
            rows[norm] |= {precision: outcome.value, f"{precision}_kept": len(outcome.kept)}
    spent = times(sessions, frames[0], rounds)
    print(f"| {' | '.join(TITLES)} |\n{'|---' * len(TITLES)}|")
    for norm, row in rows.items():
        ratios = [own / base for own, base in zip(spent[norm], spent["batch"], strict=True)]
        row["time"] = [statistics.median(ratios), *np.percentile(ratios, (10, 90)).tolist()]
        print(
            f"| {norm} | {row['style']:.4f} | {row['flicker_webcam']:.3f} | {row['flicker_davis']:.3f} "
            f"| {row['far']:.2f} | {row['fp16']:.1f} | {row['fp16_kept']} | {row['int8']:.1f} | {row['int8_kept']} "
            f"| {row['time'][0]:.2f} ({row['time'][1]:.2f} to {row['time'][2]:.2f}) |"
        )
    (work / "norms.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
