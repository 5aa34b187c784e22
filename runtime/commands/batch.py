"""`steadyframe batch`: a bundle on many videos, on the cores of this machine or on a cluster."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from ..batch.cluster import Cluster
from ..batch.driver import Outcome, run_job
from ..batch.driver import Progress as JobProgress
from ..batch.job import SUFFIXES, Job, JobFolder, clips_of
from ..batch.work import digest_of, open_processor
from ..bundle.bundle import shipped_bundles
from ..bundle.signature import load_signed
from ..engines.registry import device_choices
from ..errors import SourceError, SourceNotFound
from ..io.encode import HARDWARE
from ..opening import choose_precision
from ..temporal.options import MODES
from .report import console
from .run import read_settings
from .signature_option import signature_option


@click.command()
@click.argument("bundle")
@click.argument("clips", nargs=-1, required=True, metavar="CLIPS...")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="OUT/")
@click.option("--ray", "address", metavar="ADDRESS", help="A Ray cluster; without one, workers on this machine.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Workers here. [default: one a core]")
@click.option("--gpus", type=click.FloatRange(0, 8), default=0.0, metavar="SHARE", help="Of a GPU, for each worker.")
@click.option(
    "--to",
    "endings",
    multiple=True,
    type=click.Choice(SUFFIXES),
    help="What is written; may be repeated. [default: mp4]",
)
@click.option(
    "--segment", type=click.IntRange(min=1), default=150, show_default=True, help="Least frames of a segment."
)
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of one run of the network."
)
@click.option(
    "--device", default="auto", show_default=True, metavar="|".join(device_choices()), help="Where the network runs."
)
@click.option("--precision", default="auto", show_default=True, type=click.Choice(["auto", "fp32", "fp16", "int8"]))
@click.option("--steady", default="auto", show_default=True, type=click.Choice(("auto", *MODES)))
@click.option("--every", metavar="N|auto", help="keyframe: run the network on every n-th frame, or when needed.")
@click.option("--flow", metavar="PRESET[:SIZE]", help="ultrafast, fast or medium; SIZE: its image's shorter side.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any option of the task; may be repeated."
)
@click.option("--overlay/--no-overlay", default=True, show_default=True, help="pose: draw the skeletons.")
@click.option(
    "--quality", type=click.IntRange(0, 51), metavar="0..51", help="Of videos: 0 is lossless. [default: 20]"
)
@click.option("--encoder", default="x264", show_default=True, type=click.Choice(list(HARDWARE)))
@signature_option
def batch(bundle: str, clips: tuple[str, ...], folder: Path, address: str | None, **given: Any) -> None:
    """Run BUNDLE on every video of CLIPS and write the results into OUT.

    CLIPS are paths or quoted patterns. A job that was stopped goes on where it was when the same command is given
    again. A clip that fails is reported, and the others are finished; the exit code is then 5.
    """
    loaded = load_signed(bundle, given["key"])
    precision = choose_precision(
        loaded, given["precision"], device=given["device"], progress=lambda line: click.echo(line, err=True)
    )
    options: dict[str, Any] = {} if given["overlay"] else {"overlay": False}
    job = Job(
        bundle=bundle if bundle in shipped_bundles() else str(loaded.folder.resolve()), digest=digest_of(loaded),
        precision=precision, device=given["device"], threads=given["threads"], steady=given["steady"],
        every=given["every"], flow=given["flow"], options=options | read_settings(given["settings"]),
        suffixes=tuple(f".{ending}" for ending in dict.fromkeys(given["endings"] or ("mp4",))),
        quality=given["quality"], encoder=given["encoder"], shortest=given["segment"],
    )  # fmt: skip
    open_processor(job).close()  # a wrong option is reported here, not by every worker
    found = clips_of(_paths(clips), folder, job.suffixes)
    opened = JobFolder(folder, job)
    with Cluster(address, workers=given["workers"], gpus=given["gpus"]) as cluster, _bar() as bar:
        line = bar.add_task("planning", total=None)

        def report(at: JobProgress) -> None:
            text = f"{at.clips} of {at.of_clips} clips, {at.frames} of {at.of_frames or '?'} frames"
            bar.update(line, description=text, completed=at.frames, total=at.of_frames or None)

        try:
            outcome = run_job(job, found, opened, cluster, report)
        except KeyboardInterrupt:
            click.echo("Stopped. Give the same command again to go on.", err=True)
            raise
    _summarise(outcome, len(found))


def _paths(patterns: tuple[str, ...]) -> list[Path]:
    """Find the files that paths and patterns name; files of results that are hidden are left out."""
    found: list[Path] = []
    for pattern in patterns:
        if os.path.exists(pattern):
            names = [pattern] if os.path.isfile(pattern) else []
        else:
            names = [name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)]
        if not names:
            raise SourceNotFound(f"There is no file '{pattern}'", expected="a video, or a quoted pattern of videos")
        found += [Path(name) for name in names]
    return found


def _bar() -> Progress:
    """Make a progress bar with the time left; nothing is drawn where stderr is no terminal."""
    terminal = console()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal)


def _summarise(outcome: Outcome, count: int) -> None:
    """Print what was done and what failed.

    Raises
    ------
    SourceError
        If a clip failed.
    """
    for clip, notes in outcome.notes.items():
        for note in notes:
            click.echo(f"note: {clip.path}: {note}", err=True)
    click.echo(f"{len(outcome.done)} of {count} clips are complete; {outcome.frames} frames in this run", err=True)
    for clip, reason in outcome.failed.items():
        click.echo(f"failed: {clip.path}: {reason}", err=True)
    if outcome.failed:
        raise SourceError(
            f"{len(outcome.failed)} of {count} clips failed", found=", ".join(clip.path for clip in outcome.failed),
            todo="The others are complete. Give the same command again to try these once more",
        )  # fmt: skip
