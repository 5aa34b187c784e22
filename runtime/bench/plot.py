"""Flicker and fidelity against speed, drawn as an image.

Owns `draw_plot`. Drawn with cv2: the runtime has no plotting library, and two charts of three points need none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_SIZE_WH = (620, 460)
_MARGIN = 76  # pixels around the axes
_INK = (60, 60, 60)
_FAINT = (225, 225, 225)
_COLORS = ((90, 90, 90), (200, 120, 20), (40, 140, 40), (40, 40, 200))  # BGR
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class Point(NamedTuple):
    """One mode: its speed, its flicker and its distance to `off`."""

    mode: str
    fps: float
    flicker: float
    delta_e: float
    psnr_db: float


def draw_plot(points: Sequence[Point], title: str) -> NDArray[np.uint8]:
    """Draw flicker against fps, and the distance to per-frame inference against fps, side by side.

    Returns
    -------
    (H, W, 3) uint8 BGR
    """
    flicker = _chart(
        "flicker: mean E_warp x 1e6 (lower is steadier)",
        [(point.mode, point.fps, point.flicker * 1e6, "") for point in points],
    )
    fidelity = _chart(
        "distance to per-frame: mean Delta-E 2000 (lower is closer)",
        [(point.mode, point.fps, point.delta_e, _decibel(point.psnr_db)) for point in points],
    )
    charts = np.hstack((flicker, fidelity))
    heading = np.full((48, charts.shape[1], 3), 255, np.uint8)
    _write(heading, title, (20, 32), 0.62)
    return np.vstack((heading, charts))


def _decibel(value: float) -> str:
    return "same" if math.isinf(value) else f"{value:.1f} dB"


def _chart(title: str, points: Sequence[tuple[str, float, float, str]]) -> NDArray[np.uint8]:
    """Draw points with names; both axes begin at zero, so that distances are ratios."""
    width, height = _SIZE_WH
    canvas = np.full((height, width, 3), 255, np.uint8)
    top_x, ticks_x = _axis([x for _, x, _, _ in points])
    top_y, ticks_y = _axis([y for _, _, y, _ in points])

    def place(x: float, y: float) -> tuple[int, int]:
        across = _MARGIN + x / top_x * (width - 2 * _MARGIN)
        return round(across), round(height - _MARGIN - y / top_y * (height - 2 * _MARGIN))

    for tick in ticks_x:
        cv2.line(canvas, place(tick, 0), place(tick, top_y), _FAINT, 1, cv2.LINE_AA)
        _write(canvas, f"{tick:g}", (place(tick, 0)[0] - 12, height - _MARGIN + 22), 0.45)
    for tick in ticks_y:
        cv2.line(canvas, place(0, tick), place(top_x, tick), _FAINT, 1, cv2.LINE_AA)
        _write(canvas, f"{tick:g}", (14, place(0, tick)[1] + 5), 0.45)
    cv2.line(canvas, place(0, 0), place(top_x, 0), _INK, 1, cv2.LINE_AA)
    cv2.line(canvas, place(0, 0), place(0, top_y), _INK, 1, cv2.LINE_AA)
    _write(canvas, title, (_MARGIN - 40, 34), 0.5)
    _write(canvas, "frames per second", (width // 2 - 70, height - 18), 0.5)
    for number, (name, x, y, note) in enumerate(points):
        color = _COLORS[number % len(_COLORS)]
        at_x, at_y = place(x, y)
        cv2.circle(canvas, (at_x, at_y), 7, color, -1, cv2.LINE_AA)
        beside = at_x - 96 if x > 0.8 * top_x else at_x + 12
        _write(canvas, name, (beside, at_y - 10), 0.55, color)
        if note:
            _write(canvas, note, (beside, at_y + 20), 0.45, color)
    return canvas


def _axis(values: Sequence[float]) -> tuple[float, list[float]]:
    """Upper end of an axis from zero, and about five round ticks."""
    highest = max([value for value in values if math.isfinite(value)], default=0.0) or 1.0
    rough = highest * 1.15 / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough)
    count = math.ceil(highest * 1.1 / step)
    return step * count, [round(step * tick, 10) for tick in range(count + 1)]


def _write(
    canvas: NDArray[np.uint8], text: str, at: tuple[int, int], size: float, color: tuple[int, int, int] = _INK
) -> None:
    cv2.putText(canvas, text, at, _FONT, size, color, 1, cv2.LINE_AA)
