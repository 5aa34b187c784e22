"""`steadyframe stylize-offline`: the optimization on a clip or a folder of frames.

Owns the command line, the reading of frames, and what makes a run resumable.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ....runtime.errors import SourceNotFound, UsageError
from ....runtime.image_file import read_image
from ...data import SUFFIXES
from ..backbone import load_backbone
from .flows import Motion
from .objective import Objective, Weights, fit_painting
from .paint import STARTS, Painter, PaintOptions
from .solver import SolverOptions

SETTINGS = "settings.json"


def read_frames(source: Path, *, short_side: int, limit: int | None, skip: int = 0) -> list[NDArray[np.uint8]]:
    """Read a clip or a folder of images as (H, W, 3) uint8 BGR, scaled down to a shorter side.

    Raises
    ------
    SourceNotFound
        If there is nothing to read, or the images differ in size.
    """
    frames = []
    for pixels in _images(source, skip, limit):
        height, width = pixels.shape[:2]
        scale = min(1.0, short_side / min(height, width))
        size_wh = (round(width * scale), round(height * scale))
        frames.append(pixels if scale == 1 else cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA))
    if not frames:
        raise SourceNotFound(f"There are no frames in {source}", expected="a clip or a folder of images")
    if len({frame.shape for frame in frames}) > 1:
        raise SourceNotFound(f"The images in {source} differ in size", expected="frames of one video")
    return frames


def _images(source: Path, skip: int, limit: int | None) -> list[NDArray[np.uint8]]:
    """Decode frames `skip` to `skip + limit`."""
    end = None if limit is None else skip + limit
    if source.is_dir():
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)[skip:end]
        return [read_image(path) for path in paths]
    capture, frames = cv2.VideoCapture(str(source)), []
    for _ in range(skip):
        capture.grab()
    while end is None or len(frames) < end - skip:
        there, pixels = capture.read()
        if not there:
            break
        frames.append(pixels)
    capture.release()
    return frames


def claim(folder: Path, settings: dict[str, Any]) -> bool:
    """Take a folder for a run, or take it up again; True if it is one that was begun before.

    Raises
    ------
    UsageError
        If it holds a run with other settings.
    """
    path = folder / SETTINGS
    text = json.dumps(settings, indent=1, sort_keys=True)
    if path.is_file():
        before = json.loads(path.read_text())
        if before != json.loads(text):
            changed = sorted(k for k in before.keys() | settings.keys() if before.get(k) != json.loads(text).get(k))
            raise UsageError(
                f"{folder} holds a run with other settings",
                expected={key: before.get(key) for key in changed},
                found={key: settings.get(key) for key in changed},
                todo="Give another folder, or the settings of that run",
            )
        return True
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{SETTINGS}.tmp"
    temporary.write_text(text)
    temporary.replace(path)
    return False


def paint_with_progress(painter: Painter, console: Console) -> list[Path]:
    """Paint, with a bar over frames and passes."""
    options = painter.options
    numbers = range(1, options.passes + 1)
    done = sum(painter.path(number, i).is_file() for number in numbers for i in range(len(painter.frames)))
    columns = (
        TextColumn("frame"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        row = bar.add_task("paint", total=options.passes * len(painter.frames), completed=done, note="")
        seen: set[tuple[int, int]] = set()

        def report(number: int, index: int, iterations: int, loss: float) -> None:
            if (number, index) not in seen:
                bar.update(row, completed=done + len(seen))
                seen.add((number, index))
            note = f"pass {number} · " if options.passes > 1 else ""
            bar.update(row, note=f"{note}frame {index} · {iterations} iterations · loss {loss:.5g}")

        paths = painter.paint(report)
        bar.update(row, completed=done + len(seen))
    return paths


def write_video(images: list[Path], path: Path, rate: float) -> None:
    """Write images as an MP4 file; half a file never stays."""
    height, width = cv2.imread(str(images[0])).shape[:2]
    temporary = path.with_name(f".{path.stem}.tmp.mp4")
    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
    try:
        for image in images:
            writer.write(cv2.imread(str(image)))
    finally:
        writer.release()
    temporary.replace(path)


@click.command("stylize-offline")
@click.argument("video", type=click.Path(path_type=Path, exists=True))
@click.argument("painting", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--backbone", required=True, help="vgg19 (the paper's), vgg16, or the tiny darknet's .onnx file.")
@click.option("--size", default=360, show_default=True, help="Shorter side of the frames, pixels.")
@click.option("--limit", type=click.IntRange(1), help="Number of frames.")
@click.option("--skip", default=0, show_default=True, help="Frames to leave out at the beginning.")
@click.option("--start", type=click.Choice(STARTS), default="prevWarped", show_default=True)
@click.option(
    "--offsets", default="1", show_default=True, help="Frames back for the temporal loss; 1,2,4 is long-term."
)
@click.option("--content", default=Weights().content, show_default=True)
@click.option("--style", default=Weights().style, show_default=True)
@click.option("--temporal", type=float, help="[default: 200, and 100 with more than one pass]")
@click.option("--variation", default=Weights().variation, show_default=True)
@click.option("--style-scale", default=1.0, show_default=True, help="Size of the painting, frames of area 1.")
@click.option("--iterations", nargs=2, default=(2000, 1000), show_default=True, help="At most: first frame, others.")
@click.option("--tolerance", default=1e-4, show_default=True, help="Stop at this relative change over 50 iterations.")
@click.option("--passes", default=1, show_default=True, help="More than 1: alternately forward and backward (15).")
@click.option("--pass-iterations", default=100, show_default=True)
@click.option("--temporal-from", default=8, show_default=True, help="Pass that first has a temporal loss.")
@click.option("--flows", type=click.Path(path_type=Path, exists=True), help="Folder of flow_<from>_<to>.flo files.")
@click.option("--binary-masks", is_flag=True, help="The paper's masks instead of the released code's smooth ones.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--seed", default=0, show_default=True)
def command(**given: Any) -> None:
    """Stylize VIDEO after PAINTING by optimization, into FOLDER. The same call again resumes."""
    console, source, folder = Console(stderr=True), given["video"], given["folder"]
    options, weights = _options(given)
    frames = read_frames(source, short_side=given["size"], limit=given["limit"], skip=given["skip"])
    painting = read_image(given["painting"])
    digest = hashlib.sha256(b"".join(frame.tobytes() for frame in frames) + painting.tobytes()).hexdigest()
    settings = dataclasses.asdict(options) | dataclasses.asdict(weights) | {
        "images": digest, "backbone": Path(given["backbone"]).name, "style_scale": given["style_scale"],
        "flows": given["flows"] and given["flows"].name, "binary_masks": given["binary_masks"],
    }  # fmt: skip
    if claim(folder, settings):
        console.print(f"resuming {folder}", highlight=False)
    device = given["device"]
    height, width = frames[0].shape[:2]
    pixels = fit_painting(painting, (width, height), given["style_scale"])
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().to(device) / 255
    objective = Objective(load_backbone(given["backbone"]).to(device), tensor, weights)
    motion = Motion(frames, given["flows"], smooth=not given["binary_masks"])
    painter = Painter(frames, objective, motion, options, folder, device=device)
    images = paint_with_progress(painter, console)
    rate = 25.0 if source.is_dir() else cv2.VideoCapture(str(source)).get(cv2.CAP_PROP_FPS) or 25.0
    write_video(images, folder / "stylized.mp4", rate)
    console.print(f"{len(images)} frames in {images[0].parent}, and {folder / 'stylized.mp4'}", highlight=False)


def _options(given: dict[str, Any]) -> tuple[PaintOptions, Weights]:
    """Read the options that decide what is painted."""
    try:
        offsets = tuple(int(word) for word in given["offsets"].split(",") if word.strip())
    except ValueError:
        raise click.BadParameter(f"{given['offsets']!r} is no list of frame counts, such as 1,2,4") from None
    first, later = given["iterations"]
    solver = SolverOptions(iterations=later, tolerance=given["tolerance"])
    options = PaintOptions(
        first=dataclasses.replace(solver, iterations=first), later=solver, start=given["start"], offsets=offsets,
        passes=given["passes"], pass_iterations=given["pass_iterations"], temporal_from=given["temporal_from"],
        seed=given["seed"],
    )  # fmt: skip
    temporal = given["temporal"] if given["temporal"] is not None else (200.0 if options.passes == 1 else 100.0)
    weights = Weights(content=given["content"], style=given["style"], temporal=temporal, variation=given["variation"])
    return options, weights
