"""The shipped colorizer is as good as its card says, by measures that grey and sepia do not pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from steadyframe.models.colorize.evaluate import PhotoSet
from steadyframe.models.colorize.measures import Pixels, measure_photos, summarize

import steadyframe as sf

MOST = {"mse_to_grey": 0.82, "worse_than_grey": 0.42, "white_chroma": 4.5, "orange_off": 0.24}
LEAST_COLORFULNESS = 0.52


@pytest.fixture(scope="module")
def photos(data_root: Path) -> tuple[Pixels, ...]:
    """Every second validation photo: enough for the limits, which leave room for the interval."""
    return PhotoSet.of_folder(data_root / "photos" / "val").photos[::2]


def failing(photos: tuple[Pixels, ...], colorize: Callable[[Pixels], Pixels]) -> set[str]:
    """Names of the limits that a colorizer does not keep."""
    found = summarize(measure_photos(photos, colorize))
    found["orange_off"] = abs(found["orange_share"] - found["true_orange_share"])
    broken = {name for name, most in MOST.items() if found[name] > most}
    return broken | ({"colorfulness"} if found["colorfulness"] < LEAST_COLORFULNESS else set())


def grey(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


def test_the_shipped_colorizer_keeps_its_figures(photos: tuple[Pixels, ...]) -> None:
    with sf.open_processor("colorize", steady="off") as processor:

        def colorize(pixels: Pixels) -> Pixels:
            (result,) = processor.process(sf.Frame(pixels, independent=True))
            return np.asarray(result.output.pixels, np.uint8)

        assert failing(photos, colorize) == set()


def test_grey_and_sepia_fail(photos: tuple[Pixels, ...]) -> None:
    assert failing(photos, grey) >= {"colorfulness", "mse_to_grey"}
    sepia = np.array([0.75, 0.95, 1.15])
    found = failing(photos, lambda pixels: np.clip(grey(pixels) * sepia, 0, 255).astype(np.uint8))
    assert found >= {"worse_than_grey", "white_chroma", "orange_off"}
