"""The measures rank truth, grey and sepia as the eye does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from steadyframe.models.colorize.measures import (
    Pixels,
    colorfulness,
    compare_photos,
    intervals,
    measure_photos,
    summarize,
)


def _photos(count: int = 12) -> list[Pixels]:
    """Blurred color noise with a white corner: colors on all sides, and a true white."""
    random = np.random.default_rng(3)
    photos = []
    for _ in range(count):
        small = random.integers(40, 216, (4, 5, 3), dtype=np.uint8)
        photo = cv2.resize(small, (50, 40), interpolation=cv2.INTER_CUBIC)
        photo[:10, :10] = 250
        photos.append(photo)
    return photos


def _grey(pixels: Pixels) -> Pixels:
    return cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _sepia(pixels: Pixels) -> Pixels:
    return np.clip(_grey(pixels) * np.array([0.7, 0.9, 1.1]), 0, 255).astype(np.uint8)


def test_truth_is_perfect() -> None:
    found = summarize(measure_photos(_photos(), lambda pixels: pixels))
    assert found["mse_to_grey"] == found["worse_than_grey"] == 0.0
    assert found["colorfulness"] == 1.0
    assert found["white_chroma"] < 1.0
    assert found["orange_share"] == pytest.approx(found["true_orange_share"])
    assert 0.05 < found["true_orange_share"] < 0.4


def test_grey_is_grey() -> None:
    found = summarize(measure_photos(_photos(), _grey))
    assert found["mse_to_grey"] == pytest.approx(1.0, abs=0.02)
    assert found["colorfulness"] == found["worse_than_grey"] == 0.0
    assert found["white_chroma"] < 0.1


def test_sepia_is_found_out() -> None:
    found = summarize(measure_photos(_photos(), _sepia))
    assert found["worse_than_grey"] > 0.8
    assert found["white_chroma"] > 10
    assert found["orange_share"] > 0.9


def test_one_photo_is_worse_than_grey() -> None:
    truth, opposite = _photos(1)[0], 255 - _photos(1)[0]
    figures = [compare_photos(truth, truth), compare_photos(opposite, truth)]
    assert summarize(figures)["worse_than_grey"] == 0.5


def test_intervals_hold_the_figure_and_shrink_with_the_photos() -> None:
    few, many = (measure_photos(_photos(count), _sepia) for count in (6, 60))
    widths = []
    for figures in (few, many):
        low, high = intervals(figures)["mse_to_grey"]
        assert low < summarize(figures)["mse_to_grey"] < high
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]


def test_sets_without_white_or_color_have_figures() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    found = summarize([compare_photos(black, black)])
    assert np.isfinite(list(found.values())).all()
    assert colorfulness(np.full((4, 4, 3), 77, np.uint8)) == 0.0
