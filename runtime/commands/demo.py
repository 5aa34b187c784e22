"""`steadyframe demo`: a moving camera's images beside what three networks make of them."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..bundle.bundle import Bundle
from ..frame import Frame
from ..image import luma
from ..io.sinks import open_sink
from ..io.sources import open_source
from ..opening import choose_precision, open_processor
from ..processor import Processor
from ..tasks.task import Image, Result
from .report import console

_BUNDLES = ("colorize", "pose", "stylize-wave")
_PANELS = ("original", "colorized from its grey image", "people", "stylized")
_SAMPLE = "sample://?frames=150"  # two shots, the second one of a person


@dataclass(slots=True)
class _Network:
    """One of the networks at work, and the milliseconds that its frames took."""

    name: str
    processor: Processor
    spent_ms: list[float] = field(default_factory=list)
    runs: int = 0

    def results(self, frames: Iterator[Frame]) -> Iterator[Result[Any]]:
        """Give the result of every frame, and measure."""
        for result in self.processor.process_all(frames):
            self.spent_ms.append(sum(result.timings_ms.values()))
            self.runs += result.keyframe
            yield result


def panels(images: Sequence[NDArray[np.uint8]], names: Sequence[str] = _PANELS) -> NDArray[np.uint8]:
    """Lay four images, (H, W, 3) each, in two rows, each with its name: (2 H, 2 W, 3)."""
    named = [np.array(image) for image in images]
    scale = named[0].shape[0] / 960
    for panel, name in zip(named, names, strict=True):
        place = (round(16 * scale), panel.shape[0] - round(24 * scale))
        for color, width in (((0, 0, 0), 8 * scale), ((255, 255, 255), 3 * scale)):
            thickness = max(1, round(width))
            cv2.putText(panel, name, place, cv2.FONT_HERSHEY_SIMPLEX, 1.6 * scale, color, thickness, cv2.LINE_AA)
    return np.vstack((np.hstack(named[:2]), np.hstack(named[2:])))


def _grey(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Take the color away: what a colorizer is for."""
    for frame in frames:
        yield replace(frame, image=np.asarray(cv2.cvtColor(luma(frame.pixels), cv2.COLOR_GRAY2BGR), np.uint8))


@click.command()
@click.argument("input_address", metavar="[INPUT]", default=_SAMPLE)
@click.option("-o", "--output", default="demo.mp4", show_default=True, metavar="FILE", help="Where the video goes.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N frames.")
def demo(input_address: str, output: str, limit: int | None) -> None:
    """Write a video of original, colorized, found people and stylized, side by side.

    INPUT is a moving camera over photographs, unless another one is named. No window is needed.
    """
    with contextlib.ExitStack() as stack:
        source = open_source(input_address, sequence=True)
        stack.callback(source.close)
        networks = []
        for name in _BUNDLES:
            bundle = Bundle.load(name)
            precision = choose_precision(bundle, "auto", progress=lambda line: click.echo(line, err=True))
            processor = open_processor(bundle, steady="keyframe", precision=precision, live=False)
            networks.append(_Network(name, stack.enter_context(processor)))
        sink = open_sink(output, source.info)
        started = time.perf_counter()
        try:
            count = _write(sink, networks, source, limit)
        except BaseException:
            sink.discard()
            raise
        sink.close()
        seconds = time.perf_counter() - started
    console().print(_table(networks, count, seconds, source.info.address))
    click.echo(Path(output))


def _write(sink: Any, networks: Sequence[_Network], source: Any, limit: int | None) -> int:
    """Run every network over the same frames and write them beside each other; gives the number of frames."""
    frames = itertools.islice(source, limit)
    first, *others = itertools.tee(frames, len(networks))
    runs = [
        network.results(_grey(copy) if network.name == "colorize" else copy)
        for network, copy in zip(networks, (first, *others), strict=True)
    ]
    terminal, count = console(), 0
    known = [number for number in (limit, source.info.count) if number]
    bar = Progress(
        TextColumn("frames"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=terminal,
        transient=True, disable=not terminal.is_terminal,
    )  # fmt: skip
    with bar:
        row = bar.add_task("", total=min(known, default=None))
        for results in zip(*runs, strict=True):
            original = results[-1].frame
            shown = panels([original.pixels, *(result.draw() for result in results)])
            sink.write(replace(results[-1], output=Image(shown)))
            count += 1
            bar.update(row, completed=count)
    return count


def _table(networks: Sequence[_Network], count: int, seconds: float, address: str) -> Table:
    """Lay out what each network took."""
    caption = f"{count} frames in {seconds:.1f} s, one network after the other on every frame"
    table = Table(title=f"demo: {address}", title_justify="left", caption=caption, caption_justify="left")
    for name in ("network", "device", "p50 ms", "mean ms", "network ran on"):
        table.add_column(name, justify="left" if name in ("network", "device") else "right")
    for network in networks:
        spent = network.spent_ms or [float("nan")]
        cells = (f"{statistics.median(spent):.1f}", f"{statistics.fmean(spent):.1f}", f"{network.runs} frames")
        table.add_row(network.name, network.processor.task.device, *cells)
    return table
