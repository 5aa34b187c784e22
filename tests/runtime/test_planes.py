"""Planes and BGR show the same image, through every path."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from steadyframe.runtime.bundle.manifest import Preprocess
from steadyframe.runtime.errors import ShapeMismatch
from steadyframe.runtime.image import crop_roi, luma, merge_chroma, preprocess_image, preprocess_luma, resize
from steadyframe.runtime.planes import BT709, ColorTags, Planes, reformatter, stored_chroma, sws_matrix, tag

SMOOTH = np.dstack(
    (
        np.linspace(30, 220, 320)[None].repeat(240, 0),
        np.linspace(40, 200, 240)[:, None].repeat(320, 1),
        np.full((240, 320), 120.0),
    )
).astype(np.uint8)
TAGS = [
    ColorTags(6),
    ColorTags(6, full_range=True),
    ColorTags(BT709),
    ColorTags(BT709, full_range=True),
    ColorTags(9),
]


def planes_of(bgr: np.ndarray, tags: ColorTags, layout: str = "yuv420p") -> Planes:
    import av
    from steadyframe.runtime.planes import plane_view

    frame = tag(av.VideoFrame.from_ndarray(np.ascontiguousarray(bgr), format="bgr24"), ColorTags(1, full_range=True))
    spread = 2 if tags.full_range else 1
    made = reformatter().reformat(
        frame, format=layout, dst_colorspace=sws_matrix(tags.matrix), dst_color_range=spread
    )
    height, width = bgr.shape[:2]
    sizes = [(height, width), *[(made.format.chroma_height(height), made.format.chroma_width(width))] * 2]
    return Planes(*(plane_view(made.planes[place], *size).copy() for place, size in enumerate(sizes)), tags)


def far(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("tags", TAGS, ids=str)
def test_planes_show_the_same_image(tags, layout):
    planes = planes_of(SMOOTH, tags, layout)
    assert planes.format == layout
    assert far(planes.to_bgr(), SMOOTH) <= 6


@pytest.mark.parametrize("tags", TAGS, ids=str)
def test_a_network_sees_the_same_through_planes(tags):
    planes = planes_of(SMOOTH, tags)
    preprocess = Preprocess("area", short_side=96, multiple=8)
    assert far(preprocess_image(planes, preprocess), preprocess_image(SMOOTH, preprocess)) <= 6


@pytest.mark.parametrize("corner", [(0, 0), (31, 17), (-20, -30), (200, 150), (400, 400)])
def test_a_crop_is_the_same_through_planes(corner):
    planes = planes_of(SMOOTH, ColorTags(6))
    found, wanted = (crop_roi(image, corner, 131, 64).astype(int) for image in (planes, SMOOTH))
    assert np.abs(found - wanted).mean() <= 3
    assert np.percentile(np.abs(found - wanted), 95) <= 8


def test_grey_planes_are_grey_pixels():
    grey = Planes(np.arange(256, dtype=np.uint8).reshape(16, 16), None, None, ColorTags(full_range=True))
    assert (grey.to_bgr()[..., 1] == grey.y).all()
    assert far(preprocess_luma(grey, Preprocess("area", short_side=16, multiple=8))[..., 0], grey.y) == 0


@pytest.mark.parametrize("tags", TAGS, ids=str)
def test_new_chroma_shows_the_color_that_was_meant_and_leaves_luma_alone(tags):
    """A grey image is given chroma in planes, and in BGR by `merge_chroma`: both look alike."""
    grey = np.full((64, 64), 128, np.uint8)
    crcb = np.full((32, 32, 2), (150.0, 110.0), np.float32)
    stored = grey if tags.full_range else np.full_like(grey, 126)
    planes = Planes(stored, None, None, tags)
    colored = planes.with_chroma(*stored_chroma(crcb, planes))
    assert colored.y is stored
    assert far(colored.to_bgr(), merge_chroma(grey, crcb)) <= (5 if tags.kr_kb == ColorTags(6).kr_kb else 12)


def test_planes_that_do_not_fit_are_refused():
    y, half, other = (np.zeros(shape, np.uint8) for shape in ((4, 6), (2, 3), (3, 3)))
    with pytest.raises(ShapeMismatch):
        Planes(y, half, None)
    with pytest.raises(ShapeMismatch):
        Planes(y, half, other)
    with pytest.raises(ShapeMismatch):
        Planes(y, other, other)
    with pytest.raises(ShapeMismatch):
        Planes(y, half, half).crop(1, 0, 4, 4)


@pytest.mark.parametrize(
    ("size", "to"), [((1280, 720), (344, 192)), ((1920, 1080), (344, 192)), ((640, 480), (256, 192))]
)
def test_a_large_reduction_by_a_whole_factor_stays_an_average(size, to):
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (size[1], size[0]), np.uint8), (0, 0), 3)
    plain = cv2.resize(noise, to, interpolation=cv2.INTER_AREA)
    assert np.abs(resize(noise, to, "area").astype(int) - plain).mean() < 1.0
    assert abs(float(resize(noise, to, "area").mean()) - float(noise.mean())) < 0.5


def test_luma_of_bgr_and_of_planes_are_one():
    planes = planes_of(SMOOTH, ColorTags(6, full_range=True))
    assert far(planes.y, luma(SMOOTH)) <= 2
