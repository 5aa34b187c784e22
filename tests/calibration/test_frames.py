"""Frames are spread evenly whatever the length of the stream."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.calibration.frames import spread_frames, spread_takes, takes_of
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


def test_takes_are_consecutive_and_spread() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    film = [Frame(pixels, index=i) for i in range(203)]
    chosen = [frame.index for frame in spread_takes(film, 10, length=3)]
    takes = np.array(chosen).reshape(4, 3)
    assert (np.diff(takes, axis=1) == 1).all()
    assert np.diff(takes[:, 0]).max() <= 2 * np.diff(takes[:, 0]).min()
    assert [[frame.index for frame in take] for take in takes_of([film[i] for i in chosen])] == takes.tolist()
    assert [frame.index for frame in spread_takes(film[:2], 10, length=3)] == [0, 1]
    assert spread_takes([], 4) == []


def test_a_take_ends_where_source_or_size_change() -> None:
    def frame(index: int, source: str, side: int = 2) -> Frame:
        return Frame(np.zeros((side, side, 3), np.uint8), index=index, source=source)

    photos = [frame(0, "a.png"), frame(1, "b.png")]
    assert list(takes_of(photos)) == [[photos[0]] * 2, [photos[1]] * 2]
    film = [frame(0, "c"), frame(1, "c"), frame(2, "c", 4), frame(3, "c", 4)]
    assert [len(take) for take in takes_of(film)] == [2, 2]
    assert list(takes_of([])) == []
