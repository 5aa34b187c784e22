"""Frames are spread evenly whatever the length of the stream."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.calibration.frames import spread_frames
from steadyframe.runtime.errors import CalibrationError
from steadyframe.runtime.frame import Frame


@pytest.mark.parametrize(("length", "count"), [(1, 5), (5, 5), (7, 3), (1000, 50), (1023, 2), (0, 3)])
def test_spread(length: int, count: int) -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    chosen = [frame.index for frame in spread_frames((Frame(pixels, index=i) for i in range(length)), count)]
    assert len(chosen) == min(length, count)
    assert chosen == sorted(set(chosen))
    if len(chosen) > 1:
        steps = np.diff(chosen)
        assert steps.max() <= 2 * steps.min()
        assert chosen[-1] >= length / 2


def test_an_endless_stream_ends() -> None:
    frame = Frame(np.zeros((2, 2, 3), np.uint8))
    assert len(spread_frames(iter(lambda: frame, None), 4, most=100)) == 4


def test_nothing_wanted_is_an_error() -> None:
    with pytest.raises(CalibrationError):
        spread_frames([], 0)
