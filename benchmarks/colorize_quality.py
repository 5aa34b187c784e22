"""How natural a colorize bundle is: squared error against grey, colorfulness, and a sheet to look at.

Every picture goes the runtime's whole path. Usage::

    python benchmarks/colorize_quality.py colorize --photos ../shared/data/photos/val --sheet runs/sheet.png
"""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from steadyframe.models.colorize.evaluate import Colorize, PhotoSet, measure_pictures, sheet
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import open_task


def bundle_colorizer(bundle: str, saturation: float | None) -> Colorize:
    task = open_task(bundle, options={"saturation": saturation})

    def colorize(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        task.reset()
        feeds, placement = task.preprocess(Frame(pixels))
        return task.postprocess(task.infer(feeds), placement).pixels

    return colorize


@click.command()
@click.argument("bundles", nargs=-1, required=True)
@click.option("--photos", type=click.Path(path_type=Path, exists=True), default="../shared/data/photos/val")
@click.option("--saturation", type=float, multiple=True, help="Override the bundle's; may be given several times.")
@click.option("--sheet", "sheet_path", type=click.Path(path_type=Path), help="Grey, each bundle's picture, original.")
@click.option("--rows", default=10, show_default=True)
def main(
    bundles: tuple[str, ...], photos: Path, saturation: tuple[float, ...], sheet_path: Path | None, rows: int
) -> None:
    """Measure BUNDLES on a folder of photos."""
    originals = PhotoSet.of_folder(photos).photos
    click.echo(f"{len(originals)} photos")
    click.echo("| bundle | saturation | ab-MSE / grey | colorfulness / original |\n|---|---|---|---|")
    for bundle in bundles:
        for factor in saturation or (None,):
            found = measure_pictures(originals, bundle_colorizer(bundle, factor))
            shown = "own" if factor is None else f"{factor:g}"
            click.echo(f"| {bundle} | {shown} | {found['mse_to_grey']:.3f} | {found['colorfulness']:.3f} |")
    if sheet_path is not None:
        colorizers = [bundle_colorizer(bundle, None) for bundle in bundles]
        sheet_path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(sheet_path), sheet(originals, colorizers, rows=rows))


if __name__ == "__main__":
    main()
