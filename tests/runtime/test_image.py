"""Resizes, and the composition that keeps the frame's own luma."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from steadyframe.runtime.bundle.manifest import Preprocess
from steadyframe.runtime.errors import ShapeMismatch
from steadyframe.runtime.image import (
    crcb_from_ab,
    crop_roi,
    luma,
    merge_chroma,
    network_size_wh,
    preprocess_pixels,
    resize,
)


@pytest.mark.parametrize(
    ("size_wh", "expected"),
    [
        ((640, 480), (256, 192)),
        ((480, 640), (192, 256)),
        ((1920, 1080), (344, 192)),
        ((1, 1), (192, 192)),
        ((10_000, 1), (768, 192)),
        ((1, 10_000), (192, 768)),
    ],
)
def test_the_network_size_keeps_the_shape_and_stays_bounded(size_wh, expected):
    width, height = network_size_wh(size_wh, Preprocess("area", short_side=192, multiple=8))
    assert (width, height) == expected
    assert width % 8 == height % 8 == 0


def test_a_fixed_size_is_given_as_height_and_width_and_used_as_width_and_height():
    assert network_size_wh((640, 480), Preprocess("area", size_hw=(100, 200))) == (200, 100)


def test_area_averages_when_shrinking_and_is_linear_when_enlarging():
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert resize(pixels, (2, 2), "area").tolist() == [[3, 5], [11, 13]]  # 2.5, 4.5, 10.5, 12.5 rounded
    larger = resize(pixels, (8, 8), "area")
    assert np.array_equal(larger, cv2.resize(pixels, (8, 8), interpolation=cv2.INTER_LINEAR))
    assert len(np.unique(larger)) > len(np.unique(pixels)) - 1


def test_a_resize_to_the_same_size_is_the_same_image():
    pixels = np.zeros((4, 4, 3), np.uint8)
    assert resize(pixels, (4, 4), "cubic") is pixels


def test_preprocess_gives_the_network_size():
    frame = np.zeros((480, 640, 3), np.uint8)
    assert preprocess_pixels(frame, Preprocess("area", short_side=96, multiple=8)).shape == (96, 128, 3)


@pytest.fixture(scope="module")
def photo():
    draw = np.random.default_rng(0)
    small = draw.integers(30, 226, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC)


def test_composition_keeps_the_luma(photo):
    """Half a grey level on average, as promised; chroma small enough to stay inside the gamut."""
    draw = np.random.default_rng(1)
    crcb = draw.uniform(118, 138, (60, 80, 2)).astype(np.float32)
    merged = merge_chroma(luma(photo), crcb)
    inside = (merged > 0).all(-1) & (merged < 255).all(-1)
    difference = cv2.absdiff(luma(photo), luma(merged))
    assert inside.mean() > 0.9
    assert difference[inside].mean() < 0.5
    assert difference[inside].max() <= 1


def test_neutral_chroma_is_grey(photo):
    merged = merge_chroma(luma(photo), np.full((8, 8, 2), 128, np.float32))
    assert (merged == luma(photo)[..., None]).all()


def test_the_frames_own_chroma_gives_the_frame_back(photo):
    crcb = cv2.cvtColor(photo, cv2.COLOR_BGR2YCrCb)[..., 1:].astype(np.float32)
    assert cv2.absdiff(merge_chroma(luma(photo), crcb), photo).max() <= 2


def test_ab_turns_into_the_crcb_of_the_same_color():
    """A color inside the gamut: CIELAB's a and b of it must lead to its own Cr and Cb."""
    bgr = np.array([[[90, 120, 180]]], np.uint8)
    lab = cv2.cvtColor(bgr.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    grey_of_its_lightness = cv2.cvtColor(np.dstack((lab[..., 0], lab[..., 1:] * 0)), cv2.COLOR_LAB2BGR)
    small_luma = np.rint(grey_of_its_lightness[..., 0] * 255).astype(np.uint8)
    expected = cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb)[0, 0, 1:].astype(float)
    assert np.abs(crcb_from_ab(small_luma, lab[..., 1:])[0, 0] - expected).max() < 1.5


def test_luma_and_ab_of_two_sizes_are_refused():
    with pytest.raises(ShapeMismatch):
        crcb_from_ab(np.zeros((4, 4), np.uint8), np.zeros((4, 5, 2), np.float32))


@pytest.mark.parametrize("side", [193, 300, 384, 450, 640, 1000])
def test_a_crop_is_about_the_average_of_its_areas(side):
    random = np.random.default_rng(side)
    coarse = random.integers(0, 256, (side // 8 + 2, side // 8 + 2, 3), np.uint8)
    image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    truth = cv2.resize(image, (192, 192), interpolation=cv2.INTER_AREA).astype(int)
    error = np.abs(crop_roi(image, (0, 0), side, 192) - truth)
    assert error.mean() < 1.5 and error.max() <= 16
    noise = random.integers(0, 256, (side, side, 3), np.uint8)
    averaged = cv2.resize(noise, (192, 192), interpolation=cv2.INTER_AREA)
    assert crop_roi(noise, (0, 0), side, 192).std() < 1.35 * averaged.std() + 2, "nothing is skipped"
