"""The consistency table of Ruder et al. 2016, rebuilt with the optimization on five short scenes of known motion.

Mean squared difference between a frame and its warped predecessor, on [0, 1] images and over all pixels, those of
the mask counting as zero (`masked` divides by the mask instead). A synthetic camera moves over photos, a piece of
another photo moves before it, so the flow and the mask of the score are exact; the optimization is not told them and
measures its own flow (DIS), as on any clip. The paper's clips are from Sintel with true flow: order and ratios can be
compared, not the figures. Usage::

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
from steadyframe.models.stylize.motion import MotionOptions, Sequence, synthesize
from steadyframe.models.stylize.offline.commands import claim, paint_with_progress
from steadyframe.models.stylize.offline.flows import Motion
from steadyframe.models.stylize.offline.objective import Objective, Weights, fit_painting
from steadyframe.models.stylize.offline.paint import Painter, PaintOptions
from steadyframe.models.stylize.offline.solver import SolverOptions
from steadyframe.runtime.bench.metrics import warping_error
from steadyframe.runtime.motion.flow import Flow

KINDS = ("osie", "imagenet", "cmu16720", "huts", "elementary")  # of photos, none of them trained on; one scene each
PHOTO = 256  # pixels
MOTION = MotionOptions(shift_px=6.0, zoom=0.02, turn=0.02, still=0.0, sprites=1.0)
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


@dataclasses.dataclass(frozen=True)
class Scene:
    """Frames (H, W, 3) uint8 BGR, and what is true between each and the one before."""

    frames: list[NDArray[np.uint8]]
    flows: list[Flow]
    masks: list[NDArray[np.bool_]]


def scenes(photos: Path, *, size: int, frames: int, seed: int) -> dict[str, Scene]:
    """Move a camera over one photo of each kind."""
    torch.manual_seed(seed)
    images = [cv2.imread(str(min(photos.glob(f"{kind}*")))) for kind in KINDS]
    squares = [cv2.resize(_square(image), (PHOTO, PHOTO), interpolation=cv2.INTER_AREA) for image in images]
    made = synthesize(torch.cat([tensor(square, "cpu") for square in squares]), frames, size, MOTION)
    return {kind: _scene(made, index) for index, kind in enumerate(KINDS)}


def _square(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def _scene(made: Sequence, index: int) -> Scene:
    pixels = (made.frames[:, index] * 255).round().byte().permute(0, 2, 3, 1).numpy()
    flows = made.flows[:, index].permute(0, 2, 3, 1).contiguous().numpy()
    masks = made.masks[:, index, 0].numpy() > 0.5
    return Scene([np.ascontiguousarray(p) for p in pixels], [Flow(f) for f in flows], list(masks))


def consistency(paths: list[Path], scene: Scene) -> tuple[float, float]:
    """Mean over frame pairs of the squared change along the true motion: over all pixels, and over the mask."""
    images = [cv2.imread(str(path)).astype(np.float32) / 255 for path in paths]
    errors = [
        warping_error(after, before, flow, mask)
        for before, after, flow, mask in zip(images, images[1:], scene.flows, scene.masks, strict=False)
    ]
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
@click.option("--size", default=128, show_default=True, help="Side of the frames, pixels.")
@click.option("--frames", default=5, show_default=True)
@click.option("--iterations", default=100, show_default=True)
@click.option("--passes", default=6, show_default=True)
@click.option("--pass-iterations", default=30, show_default=True)
@click.option("--temporal", default=Weights().temporal, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(list(ROWS)), help="Rows to paint.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the motion.")
def main(**given: Any) -> None:
    """Paint five scenes in six ways and print the table."""
    data, work, device = given["data"], given["work"], given["device"]
    backbone = load_backbone(str(data / "teachers" / "perceptual" / "darknet_tiny.onnx")).to(device)
    image = cv2.imread(str(data / "styles" / f"{given['painting']}.jpg"))
    known = scenes(data / "photos" / "val", size=given["size"], frames=given["frames"], seed=given["seed"])
    table: dict[str, dict[str, tuple[float, float]]] = {}
    for name, (row, share, _) in ROWS.items():
        if given["only"] and name not in given["only"]:
            continue
        table[name] = {}
        for kind, scene in known.items():
            weights = Weights(temporal=share * given["temporal"])
            options = options_of(row, given["iterations"], given["passes"], given["pass_iterations"])
            folder = work / kind / name.replace("+ ", "").replace(" ", "-")
            settings = dataclasses.asdict(options) | dataclasses.asdict(weights)
            claim(folder, settings | {name: given[name] for name in ("size", "painting", "frames", "seed")})
            painting = fit_painting(image, (given["size"], given["size"]))
            objective = Objective(backbone, tensor(painting, device), weights)
            painter = Painter(scene.frames, objective, Motion(scene.frames), options, folder, device=device)
            table[name][kind] = consistency(paint_with_progress(painter, Console(stderr=True)), scene)
    report(table, work / "table.json")


def report(table: dict[str, dict[str, tuple[float, float]]], path: Path) -> None:
    """Print the table with the published means beside it, both as ratios to their warped-start row."""
    key = "warped previous frame"
    base = np.mean([all_pixels for all_pixels, _ in table[key].values()]) if key in table else float("nan")
    click.echo(
        "| start and losses | " + " | ".join(KINDS) + " | mean | masked | to warped start | published (unconfirmed) |"
    )
    click.echo("|---" * (len(KINDS) + 5) + "|")
    for name, found in table.items():
        mean = float(np.mean([value for value, _ in found.values()]))
        masked = float(np.mean([value for _, value in found.values()]))
        published = ROWS[name][2]
        ours = f"{mean / base:.2f}"
        theirs = "-" if published is None else f"{published / 0.00528:.2f}"
        cells = [f"{found[kind][0]:.5f}" for kind in KINDS]
        click.echo(f"| {name} | " + " | ".join(cells) + f" | {mean:.5f} | {masked:.5f} | {ours} | {theirs} |")
    path.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
