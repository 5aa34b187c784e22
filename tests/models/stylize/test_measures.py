"""Measures of single styled images: blur, paleness and the weave each move their own figure."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from steadyframe.models.stylize.measures import compare_styled, weave_peak


@pytest.fixture(scope="module")
def taught() -> NDArray[np.uint8]:
    """Strokes of all sizes, as a painting has."""
    random = np.random.default_rng(0)
    image = np.zeros((192, 256, 3), np.float32)
    for side in (8, 16, 48, 96):
        image += cv2.resize(
            random.random((side, side, 3), dtype=np.float32), (256, 192), interpolation=cv2.INTER_CUBIC
        )
    return np.clip(image * 60, 0, 255).astype(np.uint8)


def _weave(image: NDArray[np.uint8], amount: float) -> NDArray[np.uint8]:
    pattern = np.zeros((4, 4, 1), np.float32)
    pattern[0] = amount
    whole = np.tile(pattern, (image.shape[0] // 4, image.shape[1] // 4, 1))
    return np.clip(image + whole, 0, 255).astype(np.uint8)


def test_the_teacher_is_like_itself(taught: NDArray[np.uint8]) -> None:
    found = compare_styled(taught, taught)
    assert (found.edges, found.contrast, found.weave) == (1.0, 1.0, 1.0)


def test_blur_takes_edges_and_paleness_takes_contrast(taught: NDArray[np.uint8]) -> None:
    blurred = compare_styled(cv2.GaussianBlur(taught, (0, 0), 1.5), taught)
    assert blurred.edges < 0.7
    assert blurred.contrast > 0.8
    pale = compare_styled((taught * 0.5 + 60).astype(np.uint8), taught)
    assert pale.contrast == pytest.approx(0.5, abs=0.02)


def test_a_faint_weave_stands_out(taught: NDArray[np.uint8]) -> None:
    assert compare_styled(_weave(taught, 6), taught).weave > 3
    assert compare_styled(_weave(taught, 6), taught).edges < 1.05  # and is no edge
    assert 0.5 < weave_peak(taught) < 2
    other = np.roll(taught, 3, axis=0)
    assert compare_styled(other, taught).weave == pytest.approx(1, abs=0.5)
