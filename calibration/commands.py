"""`steadyframe calibrate`.

Owns the reading of options, the progress and the report; the work is done in `precision`, which is imported when the
command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from ..runtime.bundle.manifest import PRECISIONS
from ..runtime.errors import CalibrationError, SinkError
from .recipe import METHODS

if TYPE_CHECKING:
    from ..runtime.engines.autotune import Choice
    from .diversity import Selection
    from .precision import Outcome

_log = Console(stderr=True)


@click.command()
@click.argument("bundle")
@click.argument("input")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write another bundle instead of adding.")
@click.option(
    "--precision", "precisions", multiple=True, type=click.Choice(["fp16", "int8"]),
    help="What to make; may be repeated.  [default: both]",
)  # fmt: skip
@click.option("--frames", default=64, show_default=True, type=click.IntRange(min=4), help="Different frames to use.")
@click.option("--most", default=10_000, show_default=True, type=click.IntRange(min=4), help="Frames to look at.")
@click.option("--method", default="percentile", show_default=True, type=click.Choice(METHODS), help="Ranges of int8.")
@click.option("--save-frames", type=click.Path(path_type=Path), help="Keep the chosen frames here, as PNG.")
def calibrate(
    bundle: str, input: str, output: Path | None, precisions: tuple[str, ...], frames: int, most: int, **rest: Any
) -> None:
    """Add fp16 and int8 to BUNDLE, from frames of INPUT. Exit code 7 if they are not accurate enough.

    INPUT is a clip, a folder of images or a camera, like what the network will see. The frames are chosen to differ
    from each other and preprocessed by the runtime; every other one is used only to measure the quality.
    """
    from ..runtime.bundle.bundle import Bundle
    from ..runtime.io.sources import open_source
    from ..runtime.opening import tune_precision
    from .diversity import diverse_frames
    from .precision import add_to_bundle, make_precision

    loaded = Bundle.load(bundle)
    if input.startswith("test://"):
        raise CalibrationError(
            "A test pattern is nothing to calibrate on", todo="Name a clip, images or a camera of real things"
        )
    source = open_source(input)
    try:
        with _log.status("choosing frames"):
            selection = diverse_frames(source, frames, most=most)
    finally:
        source.close()
    if rest["save_frames"] is not None:
        _save(selection, rest["save_frames"])
    with _log.status("starting") as status:
        outcomes = [
            make_precision(loaded, selection, precision, method=rest["method"], progress=status.update)
            for precision in dict.fromkeys(precisions or ("fp16", "int8"))
        ]
    made = add_to_bundle(loaded, output or loaded.folder, outcomes)
    console = Console(highlight=False, markup=False)
    console.print(_coverage(selection))
    console.print(_quality(outcomes))
    choice = tune_precision(made, "cpu", progress=_log.print)
    console.print(_speed(choice))
    for path in sorted(made.folder.iterdir()):
        click.echo(f"{path}  {path.stat().st_size:,} bytes")


def _coverage(selection: Selection) -> Table:
    """Draw what the chosen frames show."""
    table = Table("calibration frames", "", show_header=False)
    table.add_row("frames", f"{len(selection.frames)} of {selection.seen}")
    table.add_row("brightness", "{:.2f} to {:.2f}".format(*selection.brightness))
    table.add_row("steps of brightness with a frame", f"{selection.brightness_bins} of 8")
    table.add_row("change since the frame before", "{:.3f} to {:.3f}".format(*selection.motion))
    table.add_row("least distance of two frames", f"{selection.nearest:.3f}")
    return table


def _quality(outcomes: list[Outcome]) -> Table:
    """Draw what came of every precision."""
    table = Table("precision", "quality metric, against fp32", "mean", "limit", "frames", "kept in fp32")
    for one in outcomes:
        figures = (f"{one.value:.3g}", f"{one.limit:g}", str(one.frames))
        table.add_row(one.precision, one.measure, *figures, ", ".join(one.kept) or "nothing")
    return table


def _speed(choice: Choice) -> Table:
    """Draw what `--precision auto` makes of it on this machine, and why."""
    table = Table("precision", "ms a frame", "why", title="--precision auto --device cpu, on this machine")
    for name in sorted(choice.reasons, key=PRECISIONS.index):
        time = f"{choice.median_ms[name]:.2f}" if name in choice.median_ms else ""
        table.add_row(name, time, choice.reasons[name])
    return table


def _save(selection: Selection, folder: Path) -> None:
    """Keep the frames without loss, named by their hashes."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for frame, name in zip(selection.frames, selection.hashes, strict=True):
        path = folder / f"{name[:16]}.png"
        if not cv2.imwrite(str(path), frame.pixels):
            raise SinkError(f"{path} cannot be written")
