"""What a frame shows against the one before: reliability, change, cuts."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.motion.flow import FlowEstimator, FlowOptions
from steadyframe.runtime.temporal.scene_change import MotionAnalysis, MotionAnalysisOptions, analyze_motion


def look(
    before: np.ndarray,
    after: np.ndarray,
    options: MotionAnalysisOptions | None = None,
    flow: FlowOptions | None = None,
) -> MotionAnalysis:
    estimator = FlowEstimator(flow)
    estimator.step(before)
    return analyze_motion(estimator.step(after), options or MotionAnalysisOptions())


def scene(seed: int, size_hw: tuple[int, int] = (180, 320)) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (size_hw[0] // 12, size_hw[1] // 12), np.uint8)
    return cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def test_first_frame_is_a_cut_with_nothing_before() -> None:
    analysis = analyze_motion(None, MotionAnalysisOptions())
    assert analysis.cut
    assert analysis.pair is None


@pytest.mark.parametrize("check_side", [None, 90])
def test_a_moving_camera_is_reliable_but_for_the_border(check_side: int | None) -> None:
    big = scene(0, (220, 400))
    flow = FlowOptions(check_side=check_side)
    analysis = look(big[20:200, 40:360].copy(), big[22:202, 46:366].copy(), flow=flow)
    assert not analysis.cut
    assert analysis.reliability is not None
    assert analysis.reliability[10:-10, 10:-10].mean() > 0.97
    assert analysis.reliability[:, -6:].mean() < 0.3
    assert analysis.residual < 1.5


def test_noise_is_no_change_and_a_new_surface_is() -> None:
    before = scene(1)
    noise = np.random.default_rng(2).normal(0, 6, before.shape)
    noisy = np.clip(before + noise, 0, 255).astype(np.uint8)
    analysis = look(before, noisy)
    assert not analysis.cut
    assert analysis.reliability is not None
    # A lamp is switched on behind part of the image: nothing moved, and yet it is something else.
    lit = before.copy()
    lit[60:120, 100:200] = np.minimum(lit[60:120, 100:200] // 2 + 120, 255)
    changed = look(before, lit)
    assert changed.reliability is not None
    assert changed.reliability[70:110, 110:190].mean() < 0.4
    assert changed.reliability[:40].mean() > 0.95
    assert not changed.cut


def test_another_scene_is_a_cut_and_a_still_one_is_not() -> None:
    assert look(scene(3), scene(4)).cut
    still = look(scene(3), scene(3))
    assert not still.cut
    assert still.residual == 0
    assert still.reliability is not None
    assert still.reliability.all()


def test_the_smooth_mask_is_an_option() -> None:
    big = scene(5, (220, 400))
    images = big[20:200, 40:360].copy(), big[20:200, 52:372].copy()
    soft, hard = look(*images, MotionAnalysisOptions(smooth_mask=True)), look(*images)
    assert soft.reliability is not None
    assert hard.reliability is not None
    assert set(np.unique(hard.reliability)) <= {0.0, 1.0}
    assert ((soft.reliability > 0) & (soft.reliability < 1)).any()


@pytest.mark.data
def test_real_cuts_are_found_and_real_motion_is_none(data_root) -> None:
    """Every join of two clips is a cut; inside the clips nothing is, but for frames too fast to follow."""
    clips = ["webcam_bird.mkv", "davis_dog.mp4", "01_dog.mp4", "davis_blackswan.mp4", "davis_bmx-trees.mp4"]
    frames, joins = [], []
    for clip in clips:
        joins.append(len(frames))
        with closing(open_source(str(data_root / "videos" / clip))) as source:
            for frame in islice(source, 12):
                frames.append(cv2.resize(frame.pixels, (427, 240), interpolation=cv2.INTER_AREA))
    estimator = FlowEstimator()
    cuts = [i for i, frame in enumerate(frames) if analyze_motion(estimator.step(frame), MotionAnalysisOptions()).cut]
    assert cuts == joins


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError):
        MotionAnalysisOptions(cut_share=1.5)
    with pytest.raises(UsageError):
        MotionAnalysisOptions(surface_level=0)
