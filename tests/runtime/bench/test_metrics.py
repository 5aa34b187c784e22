"""Metrics: known values, both denominators, and CIEDE2000's own test data."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.bench.metrics import delta_e_2000, delta_e_2000_lab, psnr, warping_error
from steadyframe.runtime.errors import ShapeMismatch
from steadyframe.runtime.motion.flow import Flow

# L*, a*, b* of both colors and the difference: rows of table 1 of Sharma, Wu, Dalal 2005 that reach every branch.
SHARMA = np.array(
    [
        (50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425),
        (50.0, 3.1571, -77.2803, 50.0, 0.0, -82.7485, 2.8615),
        (50.0, -1.3802, -84.2814, 50.0, 0.0, -82.7485, 1.0000),
        (50.0, 0.0, 0.0, 50.0, -1.0, 2.0, 2.3669),
        (50.0, 2.49, -0.001, 50.0, -2.49, 0.0009, 7.1792),
        (50.0, 2.49, -0.001, 50.0, -2.49, 0.0011, 7.2195),
        (50.0, -0.001, 2.49, 50.0, 0.0009, -2.49, 4.8045),
        (50.0, -0.001, 2.49, 50.0, 0.0011, -2.49, 4.7461),
        (50.0, 2.5, 0.0, 50.0, 0.0, -2.5, 4.3065),
        (50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492),
        (50.0, 2.5, 0.0, 58.0, 24.0, 15.0, 19.4535),
        (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
        (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
        (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
        (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
        (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
    ]
)


def test_delta_e_matches_the_published_table() -> None:
    assert np.allclose(delta_e_2000_lab(SHARMA[:, :3], SHARMA[:, 3:6]), SHARMA[:, 6], atol=1e-4)
    assert np.allclose(delta_e_2000_lab(SHARMA[:, 3:6], SHARMA[:, :3]), SHARMA[:, 6], atol=1e-4)


def test_delta_e_of_images() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    assert delta_e_2000(image, image).max() == 0
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert delta_e_2000(black, white) == pytest.approx(100, abs=0.01)


def test_delta_e_agrees_with_scikit_image() -> None:
    color = pytest.importorskip("skimage.color", reason="scikit-image is in the extra [demo]")
    random = np.random.default_rng(1)
    first, second = (random.uniform((0, -90, -90), (100, 90, 90), (5000, 3)) for _ in range(2))
    expected = color.deltaE_ciede2000(first, second)
    assert np.allclose(delta_e_2000_lab(first, second), expected, rtol=1e-4, atol=1e-4)


def test_psnr() -> None:
    zeros = np.zeros((4, 4), np.uint8)
    assert psnr(zeros, zeros) == float("inf")
    assert psnr(zeros, np.full((4, 4), 255, np.uint8)) == pytest.approx(0)
    assert psnr(zeros, zeros + 1) == pytest.approx(48.1308, abs=1e-3)
    with pytest.raises(ShapeMismatch):
        psnr(zeros, zeros[:2])


def test_the_two_warping_errors_differ_by_the_share_of_the_mask() -> None:
    here, there = np.full((10, 20, 2), 0.5, np.float32), np.full((10, 20, 2), 0.4, np.float32)
    mask = np.zeros((10, 20), bool)
    mask[:, :5] = True
    error = warping_error(here, there, Flow.constant((10, 20)), mask)
    assert error.masked == pytest.approx(0.01, rel=1e-4)
    assert error.all_pixels == pytest.approx(0.0025, rel=1e-4)
    nothing = warping_error(here, there, Flow.constant((10, 20)), np.zeros((10, 20), bool))
    assert np.isnan(nothing.masked)
    assert nothing.all_pixels == 0


def test_motion_alone_is_no_flicker() -> None:
    x = np.linspace(0, 1, 80, dtype=np.float32)
    here = np.broadcast_to(x[None, :, None], (40, 80, 1)).copy()
    there = here + 3 * (x[1] - x[0])  # the content of `here` lies three pixels further left
    flow = Flow.constant((40, 80), -3)
    mask = np.ones((40, 80), bool)
    mask[:, :3] = False
    assert warping_error(here, there, flow, mask).masked < 1e-10
    assert warping_error(here, there, Flow.constant((40, 80)), mask).masked > 1e-3


def test_frames_are_brought_to_the_size_of_the_flow() -> None:
    here, there = np.full((5, 10, 1), 0.5, np.float32), np.full((5, 10, 1), 0.25, np.float32)
    mask = np.ones((40, 80), bool)
    assert warping_error(here, there, Flow.constant((40, 80)), mask).masked == pytest.approx(0.0625)
    with pytest.raises(ShapeMismatch):
        warping_error(here, there[:4], Flow.constant((40, 80)), mask)
