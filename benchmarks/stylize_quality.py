"""Flicker and style of a stylize bundle against its per-frame teacher, clip by clip.

Flicker is E_warp on the motion of the input clip, at full size; style is the relative distance of Gram matrices to
the teacher's images, next to the distance of the unpainted frames, which is what a mere copy would have. Edges and
contrast of single frames (`off`) are shares of the teacher's; the weave is how far the spectrum stands out at a
period of 4 pixels, over the teacher's: 1 is none. Clips that the shipped styles were trained on are marked. Usage::

    python benchmarks/stylize_quality.py stylize-wave ../shared/data/videos/webcam_bird.mkv \
        --teacher ../shared/data/teachers/style/wave.onnx \
        --backbone ../shared/data/teachers/perceptual/darknet_tiny.onnx --sheet runs/wave.png
"""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from steadyframe.models.stylize.backbone import Backbone, load_backbone
from steadyframe.models.stylize.losses import gram, style_distance
from steadyframe.models.stylize.measures import compare_styled
from steadyframe.models.stylize.offline.commands import read_frames
from steadyframe.models.stylize.train import HOLD_OUT
from steadyframe.runtime.bench.metrics import warping_error
from steadyframe.runtime.motion.flow import FlowEstimator, FlowOptions
from steadyframe.runtime.motion.masks import reliable

import steadyframe as sf

Images = list[NDArray[np.uint8]]


def teach(teacher: Path, frames: Images) -> Images:
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    session = ort.InferenceSession(teacher, options, providers=["CPUExecutionProvider"])
    images = []
    for pixels in frames:
        rgb = pixels[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        styled = session.run(None, {"rgb": rgb})[0][0]
        images.append(np.ascontiguousarray(styled.transpose(1, 2, 0)[..., ::-1].round().clip(0, 255), np.uint8))
    return images


def stylize(bundle: str, frames: Images, mode: str) -> Images:
    """Run the frames as a live stream does, in one thread."""
    numbered = (sf.Frame(pixels, index, index, "clip") for index, pixels in enumerate(frames))
    with sf.open_processor(bundle, steady=mode) as processor:
        return [result.output.pixels for result in processor.process_all(numbered)]


class Flicker:
    """E_warp of any images along the motion of one clip."""

    def __init__(self, frames: Images) -> None:
        estimator = FlowEstimator(FlowOptions("medium", short_side=min(frames[0].shape[:2])))
        grey = [cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY) for pixels in frames]
        # From t to t + 1: the later frame plays the part of the previous one.
        pairs = [estimator.between(late, early) for early, late in pairwise(grey)]
        self._ways = [(pair.backward, reliable(pair.backward, pair.forward)) for pair in pairs if pair is not None]

    def of(self, images: Images) -> float:
        """Mean over the pairs of frames."""
        floats = [image.astype(np.float32) / 255 for image in images]
        errors = [
            warping_error(floats[t], floats[t + 1], flow, mask).masked for t, (flow, mask) in enumerate(self._ways)
        ]
        return float(np.nanmean(errors))


def style_off(backbone: Backbone, images: Images, targets: Images) -> float:
    """Mean relative distance of Gram matrices over every fifth frame."""

    @torch.no_grad()
    def grams(pixels: NDArray[np.uint8]) -> dict[str, torch.Tensor]:
        layers = backbone(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)
        return {name: gram(layers[name]) for name in backbone.style}

    pairs = zip(images[::5], targets[::5], strict=True)
    return float(np.mean([float(style_distance(grams(ours), grams(theirs))) for ours, theirs in pairs]))


def single_frames(images: Images, targets: Images) -> dict[str, float]:
    """Edges, contrast and weave over the teacher's, mean of every fifth frame."""
    found = [compare_styled(ours, theirs) for ours, theirs in zip(images[::5], targets[::5], strict=True)]
    return {name: float(np.mean([getattr(f, name) for f in found])) for name in ("edges", "contrast", "weave")}


@click.command()
@click.argument("bundle")
@click.argument("clips", nargs=-1, type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--teacher", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--backbone", required=True)
@click.option("--frames", default=25, show_default=True)
@click.option("--skip", default=10, show_default=True)
@click.option(
    "--sheet", type=click.Path(path_type=Path), help="Frame, teacher, off, blend and keyframe of each clip's end."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(**given: Any) -> None:
    """Measure BUNDLE on CLIPS."""
    judge = load_backbone(given["backbone"])
    click.echo("| clip | seen in training | E_warp input | teacher | blend / teacher | keyframe / teacher "
               "| style distance | unpainted | edges | contrast | weave |")  # fmt: skip
    click.echo("|---|---|---|---|---|---|---|---|---|---|---|")
    rows, table = [], {}
    for clip in given["clips"]:
        pixels = [
            frame[: frame.shape[0] // 8 * 8, : frame.shape[1] // 8 * 8]
            for frame in read_frames(clip, short_side=480, limit=given["frames"], skip=given["skip"])
        ]
        pixels = [np.ascontiguousarray(frame) for frame in pixels]
        flicker, taught = Flicker(pixels), teach(given["teacher"], pixels)
        ours = {mode: stylize(given["bundle"], pixels, mode) for mode in ("off", "blend", "keyframe")}
        base = flicker.of(taught)
        figures = {
            "input": flicker.of(pixels), "teacher": base, "blend": flicker.of(ours["blend"]) / base,
            "keyframe": flicker.of(ours["keyframe"]) / base, "style": style_off(judge, ours["blend"], taught),
            "unpainted": style_off(judge, pixels, taught), **single_frames(ours["off"], taught),
        }  # fmt: skip
        table[clip.stem] = figures
        cells = (f"{figures['input']:.5f}", f"{base:.5f}", *(f"{figures[name]:.3f}" for name in list(figures)[2:]))
        seen = "no" if clip.stem in HOLD_OUT else "yes"
        click.echo(f"| {clip.stem} | {seen} | " + " | ".join(cells) + " |")
        rows.append(np.hstack([cv2.resize(p[-1], (640, 480)) for p in (pixels, taught, *ours.values())]))
    if given["sheet"] is not None:
        given["sheet"].parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(given["sheet"]), np.vstack(rows))
    if given["json_path"] is not None:
        facts = {"bundle": given["bundle"], "frames": given["frames"], "clips": table}
        given["json_path"].write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
