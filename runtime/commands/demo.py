"""`steadyframe demo`: colors come back to a moving camera's grey images, side by side."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..image import luma
from ..io.sinks import open_sink
from ..io.sinks.sink import Sink
from ..io.sources import open_source
from ..opening import choose_precision, open_stream
from ..tasks.task import Image, Result
from .report import StreamProgress, console, stats_table

_PANELS = ("original", "grey: all the network sees", "colorized")
_BUNDLE = "colorize"


class SideBySide:
    """Write the original, its grey image and the result to another sink, as one image."""

    in_callers_thread = False
    wants = "every"

    def __init__(self, sink: Sink) -> None:
        self.address = sink.address
        self._sink = sink

    def write(self, result: Result[Any]) -> None:
        """Lay three panels side by side."""
        panels = side_by_side(result.frame.pixels, result.output.pixels)
        self._sink.write(replace(result, output=Image(panels)))

    def close(self) -> None:
        """Close the other sink."""
        self._sink.close()

    def discard(self) -> None:
        """Discard what the other sink has begun."""
        self._sink.discard()


def side_by_side(original: NDArray[np.uint8], colorized: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay original, grey and colorized (H, W, 3) side by side, each with its name: (H, 3 W, 3)."""
    grey = cv2.cvtColor(luma(original), cv2.COLOR_GRAY2BGR)
    panels = [np.array(panel) for panel in (original, grey, colorized)]
    scale = original.shape[0] / 960
    for panel, name in zip(panels, _PANELS, strict=True):
        place = (round(16 * scale), panel.shape[0] - round(24 * scale))
        for color, width in (((0, 0, 0), 8 * scale), ((255, 255, 255), 3 * scale)):
            thickness = max(1, round(width))
            cv2.putText(panel, name, place, cv2.FONT_HERSHEY_SIMPLEX, 1.6 * scale, color, thickness, cv2.LINE_AA)
    return np.hstack(panels)


@click.command()
@click.argument("input_address", metavar="[INPUT]", default="sample://")
@click.option("-o", "--output", default="demo.mp4", show_default=True, metavar="FILE", help="Where the video goes.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N frames.")
def demo(input_address: str, output: str, limit: int | None) -> None:
    """Write a video of original, grey and colorized images, side by side.

    INPUT is a moving camera over photographs, unless another one is named. No window is needed.
    """
    bundle = Bundle.load(_BUNDLE)
    with contextlib.ExitStack() as stack:
        source = open_source(input_address)
        stack.callback(source.close)
        precision = choose_precision(bundle, "auto", progress=lambda line: click.echo(line, err=True))
        sinks: list[Sink | str | Path] = [SideBySide(open_sink(output, source.info))]
        stream = open_stream(bundle, source, sinks, precision=precision, limit=limit)
        stack.callback(stream.close)
        with StreamProgress(stream, limit):
            stream.run()
    title = f"{_BUNDLE} on {stream.task.device}, {precision}: {source.info.address}"
    console().print(stats_table(stream.stats, title))
    click.echo(Path(output))
