"""How natural a colorize bundle is: figures with intervals beside grey and truth, and a sheet to look at.

Every image goes the runtime's whole path. Usage::

    python benchmarks/colorize_quality.py colorize --photos ../shared/data/photos/val --sheet runs/sheet.png
"""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from steadyframe.models.colorize.evaluate import Colorize, PhotoSet, sheet
from steadyframe.models.colorize.measures import intervals, measure_photos, summarize

import steadyframe as sf

COLUMNS = {
    "mse_to_grey": "ab-MSE / grey",
    "worse_than_grey": "worse than grey",
    "colorfulness": "colorfulness / truth",
    "white_chroma": "chroma on true whites",
    "orange_share": "orange-brown share",
}


def bundle_colorizer(bundle: str, saturation: float | None) -> Colorize:
    processor = sf.open_processor(bundle, options={"saturation": saturation}, steady="off")

    def colorize(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        (result,) = processor.process(sf.Frame(pixels, independent=True))
        return result.output.pixels

    return colorize


def grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


def row(name: str, photos: PhotoSet, colorize: Colorize) -> str:
    figures = measure_photos(photos.photos, colorize)
    found, bounds = summarize(figures), intervals(figures)
    cells = [f"{found[key]:.3f} ({bounds[key][0]:.3f}-{bounds[key][1]:.3f})" for key in COLUMNS]
    return f"| {name} | {' | '.join(cells)} |"


@click.command()
@click.argument("bundles", nargs=-1, required=True)
@click.option("--photos", type=click.Path(path_type=Path, exists=True), multiple=True, help="Folders; a table each.")
@click.option("--saturation", type=float, multiple=True, help="Override the bundle's; may be given several times.")
@click.option("--sheet", "sheet_path", type=click.Path(path_type=Path), help="Grey, each bundle's result, truth.")
@click.option("--rows", default=15, show_default=True, help="Of four photos each on the sheet.")
def main(
    bundles: tuple[str, ...], photos: tuple[Path, ...], saturation: tuple[float, ...], sheet_path: Path | None,
    rows: int,
) -> None:  # fmt: skip
    """Measure BUNDLES on folders of photos; 95 % intervals by drawing photos with replacement."""
    for folder in photos or (Path("../shared/data/photos/val"),):
        originals = PhotoSet.of_folder(folder)
        click.echo(f"{folder.name}: {len(originals.photos)} photos")
        click.echo(f"| | {' | '.join(COLUMNS.values())} |\n|---{'|---' * len(COLUMNS)}|")
        for bundle in bundles:
            for factor in saturation or (None,):
                shown = "" if factor is None else f", saturation {factor:g}"
                click.echo(row(f"{Path(bundle).name}{shown}", originals, bundle_colorizer(bundle, factor)))
        click.echo(row("grey", originals, grey))
        click.echo(row("truth", originals, lambda pixels: pixels))
        if sheet_path is not None:
            colorizers = [bundle_colorizer(bundle, None) for bundle in bundles]
            sheet_path.parent.mkdir(parents=True, exist_ok=True)
            path = sheet_path.with_stem(f"{sheet_path.stem}-{folder.name}") if len(photos) > 1 else sheet_path
            cv2.imwrite(str(path), sheet(originals.photos, colorizers, rows=rows))


if __name__ == "__main__":
    main()
