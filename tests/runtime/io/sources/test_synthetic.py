"""The two sources that need no camera."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import SourceNotFound
from steadyframe.runtime.io.sources import open_source


def test_the_pattern_has_the_frames_size_and_rate_asked_for():
    source = open_source("test://?size=96x64&frames=5&fps=50")
    frames = list(source)
    assert (source.info.count, source.info.fps, source.info.live, source.info.independent) == (5, 50.0, False, False)
    assert [(frame.index, frame.independent) for frame in frames] == [(index, False) for index in range(5)]
    assert [frame.time_ns for frame in frames] == [0, 20_000_000, 40_000_000, 60_000_000, 80_000_000]
    assert all(frame.size_wh == (96, 64) for frame in frames)


def test_the_bars_of_the_pattern_are_the_eight_colors_and_move_two_pixels():
    source = open_source("test://?size=160x120&frames=2")
    first, second = (frame.pixels[0] for frame in source)
    assert len(np.unique(first, axis=0)) == 8
    assert np.array_equal(np.roll(first, 2, axis=0), second)


def test_a_pattern_without_end_ends_when_it_is_asked_to():
    source = open_source("test://?size=8x8&frames=0")
    assert source.info.count is None
    for frame in source:
        if frame.index == 50:
            source.stop()
    assert frame.index == 50


@pytest.fixture(scope="module")
def film():
    pytest.importorskip("skimage", reason="the [demo] extra is not installed")
    return list(open_source("sample://?size=160x120&frames=160"))


def test_the_sample_camera_is_the_same_every_time_and_another_with_another_seed(film):
    again = open_source("sample://?size=160x120&frames=160")
    other = open_source("sample://?size=160x120&frames=160&seed=1")
    for index in (0, 40, 159):
        assert np.array_equal(again.film(index), film[index].pixels)
        assert not np.array_equal(other.film(index), film[index].pixels)


def test_the_sample_camera_moves_smoothly_and_cuts_between_photographs(film):
    luma = [cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2GRAY).astype(np.float32) for frame in film]
    changes = np.array([np.abs(one - other).mean() for one, other in itertools.pairwise(luma)])
    cuts = np.flatnonzero(changes > 25)
    assert cuts.tolist() == [74, 149]  # a hard cut every 75 frames
    within = np.delete(changes, cuts)
    assert within.min() > 0.05  # it never stands still
    assert within.max() < 15  # and never jumps
    shifts = [cv2.phaseCorrelate(one, other)[0] for one, other in itertools.pairwise(luma[:74])]
    assert 0.05 < np.median(np.hypot(*np.transpose(shifts))) < 3


def test_the_sample_camera_shows_color(film):
    saturation = [cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2HSV)[..., 1].mean() for frame in film[::40]]
    assert min(saturation) > 30


def test_without_scikit_image_the_line_that_installs_it_is_told(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceNotFound, match=r"pip install 'steadyframe\[demo\]'"):
        open_source("sample://")
