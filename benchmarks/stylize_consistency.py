"""The consistency table of Ruder et al. 2016, rebuilt with the optimization on five short clips.

Mean squared difference between a frame and its warped predecessor, on [0, 1] images and over all pixels, those of
the mask counting as zero (`masked` divides by the mask instead). The paper's clips are from Sintel with true flow;
these are DAVIS and Sintel frames with DIS flow, so the order and the ratios can be compared, not the figures. Usage::

    python benchmarks/stylize_consistency.py --data ../shared/data --work runs/consistency

A run that was cut goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from steadyframe.models.stylize.backbone import load_backbone
from steadyframe.models.stylize.offline.commands import claim, paint_with_progress, read_frames
from steadyframe.models.stylize.offline.flows import Motion
from steadyframe.models.stylize.offline.objective import Objective, Weights, fit_painting
from steadyframe.models.stylize.offline.paint import Painter, PaintOptions
from steadyframe.models.stylize.offline.solver import SolverOptions
from steadyframe.runtime.bench.metrics import warping_error
from steadyframe.runtime.motion.flow import Flow
from steadyframe.runtime.motion.masks import reliable

# clip -> frames to leave out at its beginning
CLIPS = {
    "davis_dog": 10, "davis_scooter-black": 5, "davis_horsejump-high": 5, "davis_blackswan": 5, "mmflow_demo": 5,
}  # fmt: skip
# Row -> how it is painted, share of the temporal weight, and the mean over the published table's five sequences
# (with DeepFlow). The published figures are quoted from memory: treat them as unconfirmed.
ROWS: dict[str, tuple[dict[str, object], float, float | None]] = {
    "random start": ({"start": "random", "offsets": ()}, 0.0, 0.0248),
    "previous frame": ({"start": "prev", "offsets": ()}, 0.0, 0.0148),
    "warped previous frame": ({"start": "prevWarped", "offsets": ()}, 0.0, 0.00528),
    "+ temporal loss": ({"start": "prevWarped", "offsets": (1,)}, 1.0, 0.004630),
    "+ long-term loss": ({"start": "prevWarped", "offsets": (1, 2, 4)}, 1.0, None),
    "multi-pass": ({"passes": 0}, 0.5, None),
}


def consistency(paths: list[Path], motion: Motion) -> tuple[float, float]:
    """Mean over frame pairs of the squared change along the flow: over all pixels, and over the mask."""
    images = [cv2.imread(str(path)).astype(np.float32) / 255 for path in paths]
    errors = []
    for t in range(1, len(images)):
        flow = Flow(motion.vectors(t, t - 1))
        mask = reliable(flow, Flow(motion.vectors(t - 1, t), forward=True))
        errors.append(warping_error(images[t], images[t - 1], flow, mask))
    return float(np.mean([e.all_pixels for e in errors])), float(np.mean([e.masked for e in errors]))


def options_of(row: dict[str, object], iterations: int, passes: int, pass_iterations: int) -> PaintOptions:
    solver = SolverOptions(iterations=iterations)
    options = PaintOptions(first=solver, later=solver, pass_iterations=pass_iterations, temporal_from=passes // 2 + 1)
    return dataclasses.replace(options, **(row | ({"passes": passes} if "passes" in row else {})))


def tensor(pixels: NDArray[np.uint8], device: str) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().to(device) / 255


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--painting", default="starry_night", show_default=True)
@click.option("--size", default=96, show_default=True, help="Shorter side, pixels.")
@click.option("--frames", default=5, show_default=True)
@click.option("--iterations", default=100, show_default=True)
@click.option("--passes", default=6, show_default=True)
@click.option("--pass-iterations", default=30, show_default=True)
@click.option("--temporal", default=Weights().temporal, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(list(ROWS)), help="Rows to paint.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
def main(**given: Any) -> None:
    """Paint five clips in six ways and print the table."""
    data, work, device = given["data"], given["work"], given["device"]
    backbone = load_backbone(str(data / "teachers" / "perceptual" / "darknet_tiny.onnx")).to(device)
    image = cv2.imread(str(data / "styles" / f"{given['painting']}.jpg"))
    table: dict[str, dict[str, tuple[float, float]]] = {}
    for name, (row, share, _) in ROWS.items():
        if given["only"] and name not in given["only"]:
            continue
        table[name] = {}
        for clip, skip in CLIPS.items():
            pixels = read_frames(
                data / "videos" / f"{clip}.mp4", short_side=given["size"], limit=given["frames"], skip=skip
            )
            height, width = pixels[0].shape[:2]
            weights = Weights(temporal=share * given["temporal"])
            options = options_of(row, given["iterations"], given["passes"], given["pass_iterations"])
            folder = work / clip / name.replace("+ ", "").replace(" ", "-")
            settings = dataclasses.asdict(options) | dataclasses.asdict(weights)
            claim(folder, settings | {"size": given["size"], "painting": given["painting"]})
            objective = Objective(backbone, tensor(fit_painting(image, (width, height)), device), weights)
            motion = Motion(pixels)
            painter = Painter(pixels, objective, motion, options, folder, device=device)
            table[name][clip] = consistency(paint_with_progress(painter, Console(stderr=True)), motion)
    report(table, work / "table.json")


def report(table: dict[str, dict[str, tuple[float, float]]], path: Path) -> None:
    """Print the table with the published means beside it, both as ratios to their warped-start row."""
    key = "warped previous frame"
    base = np.mean([all_pixels for all_pixels, _ in table[key].values()]) if key in table else float("nan")
    clips = list(CLIPS)
    click.echo(
        "| start and losses | " + " | ".join(clips) + " | mean | masked | to warped start | published (unconfirmed) |"
    )
    click.echo("|---" * (len(clips) + 5) + "|")
    for name, found in table.items():
        mean = float(np.mean([value for value, _ in found.values()]))
        masked = float(np.mean([value for _, value in found.values()]))
        published = ROWS[name][2]
        ours = f"{mean / base:.2f}"
        theirs = "-" if published is None else f"{published / 0.00528:.2f}"
        cells = [f"{found[clip][0]:.5f}" for clip in clips]
        click.echo(f"| {name} | " + " | ".join(cells) + f" | {mean:.5f} | {masked:.5f} | {ours} | {theirs} |")
    path.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
