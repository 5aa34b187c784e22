"""What a frame accepts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from steadyframe.runtime.errors import ShapeMismatch
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.planes import Planes


def test_a_frame_knows_its_size_as_width_and_height():
    assert Frame(np.zeros((3, 5, 3), np.uint8)).size_wh == (5, 3)


def test_one_pixel_is_a_frame():
    assert Frame(np.zeros((1, 1, 3), np.uint8)).size_wh == (1, 1)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 3), np.float32),
        [[[0, 0, 0]]],
        None,
    ],
    ids=lambda pixels: f"{getattr(pixels, 'shape', pixels)} {getattr(pixels, 'dtype', '')}",
)
def test_anything_but_8_bit_color_is_refused_and_named(pixels):
    with pytest.raises(ShapeMismatch) as raised:
        Frame(pixels)
    assert raised.value.expected == "(H, W, 3) uint8 BGR"
    assert str(getattr(pixels, "shape", type(pixels).__name__)) in str(raised.value)


def test_a_frame_cannot_be_changed():
    frame = Frame(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.index = 3


def test_luma_is_converted_once_and_stays_as_it_is():
    frame = Frame(np.full((2, 3, 3), (255, 0, 0), np.uint8))
    assert (frame.luma == 29).all()  # BT.601: blue counts 0.114
    assert frame.luma is frame.luma
    with pytest.raises(ValueError, match="read-only"):
        frame.luma[0, 0] = 1
    assert (dataclasses.replace(frame, image=np.zeros((2, 3, 3), np.uint8)).luma == 0).all()


def test_planes_are_kept_and_bgr_is_made_at_first_use():
    planes = Planes(np.full((4, 6), 81, np.uint8), np.full((2, 3), 90, np.uint8), np.full((2, 3), 240, np.uint8))
    frame = Frame(planes)
    assert frame.size_wh == (6, 4)
    assert frame.planes is planes
    assert frame._pixels is None
    assert np.shares_memory(frame.luma, planes.y)  # the decoder's own plane
    assert np.abs(frame.pixels.astype(int) - (0, 0, 254)).max() <= 3  # red in BT.601
    assert frame.pixels is frame.pixels
