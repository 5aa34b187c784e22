"""`steadyframe bench`: quality and cost of every steady mode."""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path
from typing import Any

import click
import cv2
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..bench.plot import Point, draw_plot
from ..bench.quality import Quality, measure_quality
from ..bench.speed import Speed, measure_live, measure_speed
from ..bench.subject import Subject
from ..bundle.bundle import Bundle
from ..engines.registry import device_choices
from ..errors import SinkError
from ..files import write_whole
from ..stream.stats import Stats
from ..temporal.options import MODES, SteadyOptions
from .report import console


@click.command()
@click.argument("bundle")
@click.argument("input_address", metavar="INPUT")
@click.option("--device", default="auto", show_default=True, metavar="|".join(device_choices()))
@click.option("--precision", default="auto", show_default=True, type=click.Choice(["auto", "fp32", "fp16", "int8"]))
@click.option("--every", default="auto", show_default=True, metavar="N|auto", help="Keyframes of the mode keyframe.")
@click.option("--flow", metavar="PRESET[:SIZE]", help="Flow of blend and keyframe; the task's own by default.")
@click.option("--limit", default=300, show_default=True, type=click.IntRange(min=2), help="Frames that count.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1), help="Runs for the speed.")
@click.option("--live/--no-live", default=True, show_default=True, help="Also play INPUT as a camera, for the age.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write all figures.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), metavar="FILE.png", help="Draw them.")
def bench(bundle: str, input_address: str, json_file: Path | None, plot_file: Path | None, **given: Any) -> None:
    """Measure BUNDLE on INPUT in every steady mode: off, blend and keyframe.

    Speed is that of whole streams, run in turns. Flicker is the change along the motion between frames (E_warp), on
    what the task makes, before rounding; fidelity compares with running the network on every frame.
    """
    for file in (json_file, plot_file):
        if file is not None and not file.parent.is_dir():
            raise SinkError(f"There is no folder for {file}", todo="Make it, or name another file")
    if plot_file is not None and plot_file.suffix.lower() != ".png":
        raise SinkError("A plot is a PNG", expected="FILE.png", found=plot_file.name)
    modes = {
        mode: SteadyOptions.of(
            mode,
            every=given["every"] if mode == "keyframe" else None,
            flow=given["flow"] if mode != "off" else None,
        )
        for mode in MODES
    }
    subject = Subject(
        Bundle.load(bundle),
        input_address,
        modes,
        device=given["device"],
        precision=given["precision"],
        limit=given["limit"],
    )
    with subject:
        speeds, qualities, lives = _measure(subject, rounds=given["rounds"], live=given["live"])
    _print(subject, speeds, qualities, lives)
    if json_file is not None:
        write_whole(json_file, (json.dumps(as_json(subject, speeds, qualities, lives), indent=2) + "\n").encode())
    if plot_file is not None and qualities is not None:
        image = draw_plot(_points(speeds, qualities), "{bundle} on {device}: {source}".format(**subject.facts()))
        write_whole(plot_file, cv2.imencode(".png", image)[1].tobytes())


def _measure(
    subject: Subject, *, rounds: int, live: bool
) -> tuple[dict[str, Speed], dict[str, Quality] | None, dict[str, Stats]]:
    """Measure everything under one progress bar."""
    frames = subject.frames()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True, disable=not console().is_terminal) as bar:
        step = bar.add_task("speed", total=rounds * len(subject.modes))
        speeds = measure_speed(subject, rounds=rounds, on_round=lambda _: bar.advance(step))
        lives: dict[str, Stats] = {}
        if live:
            step = bar.add_task("age", total=len(subject.modes))
            for mode in subject.modes:
                lives[mode] = measure_live(subject, mode)
                bar.advance(step)
        step = bar.add_task("flicker and fidelity", total=len(frames))
        qualities = measure_quality(subject, frames, on_frame=lambda: bar.advance(step))
    return speeds, qualities, lives


def as_json(
    subject: Subject, speeds: dict[str, Speed], qualities: dict[str, Quality] | None, lives: dict[str, Stats]
) -> dict[str, Any]:
    """All figures; what was not measured is left out."""
    modes: dict[str, Any] = {}
    for mode, speed in speeds.items():
        modes[mode] = speed.as_json()
        if qualities is not None:
            modes[mode] |= qualities[mode].as_json()
        if mode in lives:
            live = lives[mode].as_json()
            modes[mode]["live"] = {name: live[name] for name in ("fps", "age_ms", "dropped", "decoded", "keyframes")}
    machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "opencv": cv2.__version__}
    return {"schema": 1, **subject.facts(), "machine": machine, "modes": modes}


def _points(speeds: dict[str, Speed], qualities: dict[str, Quality]) -> list[Point]:
    return [
        Point(mode, speeds[mode].median_fps, quality.flicker, quality.mean_delta_e, quality.psnr_db)
        for mode, quality in qualities.items()
    ]


def _print(
    subject: Subject, speeds: dict[str, Speed], qualities: dict[str, Quality] | None, lives: dict[str, Stats]
) -> None:
    """Print the modes beside each other, and below them the stages."""
    title = "{bundle} on {device}, {precision}: {source}".format(**subject.facts())
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("")
    for mode in speeds:
        table.add_column(mode, justify="right")
    base = speeds["off"].median_fps
    rows: list[tuple[str, list[str]]] = [
        ("fps, median", [f"{speed.median_fps:.1f}" for speed in speeds.values()]),
        ("fps, spread", [f"{min(speed.fps):.0f} to {max(speed.fps):.0f}" for speed in speeds.values()]),
        ("times off", [f"{speed.median_fps / base:.2f}" for speed in speeds.values()]),
        ("keyframes", [f"{speed.stats.keyframes / speed.stats.frames:.0%}" for speed in speeds.values()]),
    ]
    if lives:
        ages = [live.age_ms for live in lives.values()]
        rows.append(("age as a camera, p50 / p95 ms", [f"{age.p50:.1f} / {age.p95:.1f}" for age in ages]))
        rows.append(("dropped as a camera", [f"{live.dropped} of {live.decoded}" for live in lives.values()]))
    if qualities is not None:
        rows += _quality_rows(qualities)
    for name, cells in rows:
        table.add_row(name, *cells)
    table.add_section()
    stages = {mode: speed.stats.stages_ms for mode, speed in speeds.items()}
    for stage in dict.fromkeys(stage for own in stages.values() for stage in own):
        spreads = [own.get(stage) for own in stages.values()]
        cells = ["-" if one is None else f"{one.p50:.2f} / {one.p95:.2f} / {one.p99:.2f}" for one in spreads]
        table.add_row(f"{stage}, p50 / p95 / p99 ms", *cells)
    if qualities is None:
        table.caption = "The results of this task are no images: no flicker and no fidelity."
    console().print(table)


def _quality_rows(qualities: dict[str, Quality]) -> list[tuple[str, list[str]]]:
    every, off = list(qualities.values()), qualities["off"]

    def ratio(value: float, base: float) -> str:
        return f"{value * 1e6:.2f} ({value / base:.2f})" if base else f"{value * 1e6:.2f}"

    return [
        ("flicker x 1e6, mean (of off)", [ratio(one.flicker, off.flicker) for one in every]),
        ("flicker x 1e6, p95 (of off)", [ratio(one.flicker_p95, off.flicker_p95) for one in every]),
        ("PSNR to per-frame, dB", ["same" if math.isinf(one.psnr_db) else f"{one.psnr_db:.1f}" for one in every]),
        ("Delta-E 2000 to per-frame", [f"{one.mean_delta_e:.3f}" for one in every]),
        ("likeness where things move, mean", [f"{one.likeness.mean:.3f}" for one in every]),
        ("likeness where things move, p5", [f"{one.likeness.p5:.3f}" for one in every]),
        ("sharpness of off", [f"{one.likeness.mean_sharpness:.3f}" for one in every]),
    ]
