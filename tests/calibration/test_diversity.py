"""Frames that differ are chosen, in bounded memory; noise is refused."""

from __future__ import annotations

import weakref

import cv2
import numpy as np
import pytest
from steadyframe.calibration.diversity import content_hash, diverse_frames, neighbour_correlation, signature_of
from steadyframe.runtime.errors import CalibrationError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source


def scene(seed, level=128):
    """A smooth random landscape, as unlike another seed's as two places are."""
    coarse = np.random.default_rng(seed).normal(0, 60, (6, 8, 3)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (96, 64), interpolation=cv2.INTER_CUBIC) + level, 0, 255).astype(np.uint8)


def film(*pixels):
    return [Frame(one, index=i) for i, one in enumerate(pixels)]


def test_every_scene_is_chosen_though_one_lasts_long():
    scenes = [scene(0)] * 200 + [scene(1), scene(2)] + [scene(0)] * 200 + [scene(3)]
    selection = diverse_frames(film(*scenes), 4)
    hashes = {content_hash(scene(seed)) for seed in range(4)}
    assert set(selection.hashes) == hashes
    assert selection.seen == len(scenes)
    assert [frame.index for frame in selection.frames] == sorted(frame.index for frame in selection.frames)


def test_a_still_camera_gives_one_frame_and_not_many():
    random = np.random.default_rng(0)
    noisy = (np.clip(scene(0).astype(int) + random.integers(-2, 3, (64, 96, 3)), 0, 255) for _ in range(50))
    assert len(diverse_frames(film(*(one.astype(np.uint8) for one in noisy)), 16).frames) <= 2


def test_dark_and_bright_are_both_kept():
    levels = [128] * 30 + [40, 220] + [128] * 30
    selection = diverse_frames(film(*(scene(0, level) for level in levels)), 3)
    assert {frame.index for frame in selection.frames} >= {30, 31}
    assert selection.brightness[0] < 0.25
    assert selection.brightness[1] > 0.75
    assert selection.brightness_bins == 3


def test_motion_is_part_of_the_signature():
    left, right = scene(0), np.roll(scene(0), 20, axis=1)
    _, small = signature_of(left, None)
    still, _ = signature_of(left, small)
    moved, _ = signature_of(right, small)
    assert still.motion == 0
    assert moved.motion > 0.05


def test_no_more_frames_are_held_than_are_wanted():
    alive = []

    def endless():
        for seed in range(40):
            frame = Frame(scene(seed), index=seed)
            alive.append(weakref.ref(frame.pixels))
            yield frame
            assert sum(reference() is not None for reference in alive) <= 5 + 3

    assert len(diverse_frames(endless(), 5, most=40).frames) == 5


@pytest.mark.parametrize("make", [
    lambda random: random.integers(0, 256, (64, 64, 3)),
    lambda random: random.normal(128, 40, (64, 64, 3)).clip(0, 255),
])  # fmt: skip
def test_random_pixels_are_refused(make):
    frames = film(*(make(np.random.default_rng(i)).astype(np.uint8) for i in range(8)))
    with pytest.raises(CalibrationError, match="random pixels") as raised:
        diverse_frames(frames, 8)
    assert raised.value.exit_code == 7


def test_real_photos_are_far_from_noise(data_root):
    source = open_source(str(data_root / "photos" / "val"))
    try:
        selection = diverse_frames(source, 6, most=30)
    finally:
        source.close()
    assert len(selection.frames) == 6
    assert min(neighbour_correlation(frame.pixels) for frame in selection.frames) > 0.6


def test_nothing_is_an_error():
    with pytest.raises(CalibrationError, match="no frames"):
        diverse_frames([], 4)
    with pytest.raises(CalibrationError, match="At least one"):
        diverse_frames(film(scene(0)), 0)
