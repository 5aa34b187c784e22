"""How exact and how dear each flow preset is: end-point error on ground truth, at the sizes that the runtime uses.

Flying Chairs pairs are 512x384 with motion of up to tens of pixels, more than a camera shows from frame to frame. The
error is in pixels of the full image, of the forward flow enlarged to it; times are of both directions on one core,
the presets in turns.

    python benchmarks/flow_presets.py ../shared/data/flow [--rounds 15]
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from steadyframe.runtime.errors import SourceNotFound
from steadyframe.runtime.motion.flow import PRESETS, FlowEstimator, FlowOptions

SIZES = (120, 180, 360)
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]


def read_flow(path: Path) -> NDArray[np.float32]:
    """Read a Middlebury file: magic number, width, height, then x and y of every pixel; (H, W, 2) pixels."""
    content = path.read_bytes()
    if np.frombuffer(content, "<f4", 1)[0] != np.float32(202021.25):
        raise SourceNotFound(f"{path.name} is not a Middlebury flow", expected="magic number 202021.25")
    width, height = np.frombuffer(content, "<i4", 2, 4)
    return np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2)


def read_pairs(folder: Path) -> list[Pair]:
    """Read every `NAME_frame0.png`, `NAME_frame1.png` and `NAME_flow.flo` of a folder."""
    pairs = []
    for first in sorted(folder.glob("*_frame0.png")):
        name = first.name.removesuffix("_frame0.png")
        second, truth = first.with_name(f"{name}_frame1.png"), first.with_name(f"{name}_flow.flo")
        images = [np.asarray(cv2.imread(str(path)), np.uint8) for path in (first, second)]
        pairs.append((images[0], images[1], read_flow(truth)))
    if not pairs:
        raise SourceNotFound(
            f"There are no pairs in {folder}", expected="NAME_frame0.png, NAME_frame1.png, NAME_flow.flo"
        )
    return pairs


def errors(options: FlowOptions, pairs: list[Pair]) -> NDArray[np.float32]:
    """End-point errors of every pixel of every pair, in pixels of the full image."""
    found = []
    for first, second, truth in pairs:
        estimator = FlowEstimator(options)
        estimator.step(first)
        pair = estimator.step(second)
        assert pair is not None  # the second image of one size
        vectors = pair.forward.scaled((truth.shape[1], truth.shape[0])).vectors
        found.append(np.linalg.norm(vectors - truth, axis=2).ravel())
    return np.concatenate(found)


def milliseconds(options: FlowOptions, pair: Pair) -> float:
    """Time of one pair of flows; reducing the images is not in it."""
    estimator = FlowEstimator(options)
    estimator.push(pair[0])
    images = estimator.push(pair[1])
    started = time.perf_counter()
    estimator.between(*images)
    return 1e3 * (time.perf_counter() - started)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--rounds", default=15, show_default=True)
def main(folder: Path, rounds: int) -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    pairs = read_pairs(folder)
    rows = [FlowOptions(preset, size) for size in SIZES for preset in PRESETS]
    times: dict[FlowOptions, list[float]] = {row: [] for row in rows}
    for number in range(rounds + 1):
        for row in rows:
            spent = statistics.fmean(milliseconds(row, pair) for pair in pairs)
            if number:  # the first round warms up
                times[row].append(spent)
    table = Table("preset", "rows", "median error px", "mean error px", "within 1 px", "ms (least to most)")
    for row in rows:
        off, spent = errors(row, pairs), sorted(times[row])
        table.add_row(
            row.preset, str(row.short_side), f"{np.median(off):.2f}", f"{off.mean():.2f}", f"{(off < 1).mean():.0%}",
            f"{statistics.median(spent):.2f} ({spent[0]:.2f} to {spent[-1]:.2f})",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
