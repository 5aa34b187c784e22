"""One-Euro: steady at rest, quick in motion, on real time steps."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.errors import ShapeMismatch, UsageError
from steadyframe.runtime.temporal.one_euro import OneEuro, OneEuroOptions

SECOND = 1_000_000_000


def run(values: np.ndarray, rate_hz: float = 30, **options: float) -> np.ndarray:
    smooth = OneEuro(OneEuroOptions(**options))
    return np.array([smooth(value, int(i * SECOND / rate_hz)) for i, value in enumerate(values)])


def test_noise_at_rest_is_damped() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (300, 5)).astype(np.float32)
    assert run(noise, beta=0.0)[30:].std() < 0.4 * noise[30:].std()


def test_fast_motion_lags_less_with_beta() -> None:
    ramp = np.arange(90, dtype=np.float32)[:, None] * 20
    lag_slow = (ramp - run(ramp, beta=0.0))[-1, 0]
    lag_quick = (ramp - run(ramp, beta=0.05))[-1, 0]
    assert lag_quick < 0.1 * lag_slow
    assert lag_quick < 20  # under one frame's motion


def test_first_step_is_the_published_formula() -> None:
    smooth = OneEuro(OneEuroOptions(min_cutoff_hz=1.0, beta=0.5, derivative_cutoff_hz=1.0))
    smooth(np.float32([0]), 0)
    step_s = 0.1
    gain = 1 / (1 + 1 / (2 * np.pi * 1.0 * step_s))
    speed = gain * (2 / step_s)
    cutoff = 1.0 + 0.5 * speed
    expected = 2 / (1 + 1 / (2 * np.pi * cutoff * step_s))
    assert smooth(np.float32([2]), SECOND // 10)[0] == pytest.approx(expected, rel=1e-5)


def test_the_real_time_step_counts() -> None:
    """The same second of motion gives nearly the same answer at 30 and at 60 frames a second, or with drops."""
    at = np.linspace(0, 1, 61)
    path = np.sin(2 * np.pi * 0.5 * at).astype(np.float32)
    whole, half = OneEuro(), OneEuro()
    for i, value in enumerate(path):
        end = whole(np.float32([value]), int(at[i] * SECOND))
        if i % 2 == 0:
            end_half = half(np.float32([value]), int(at[i] * SECOND))
    assert end_half[0] == pytest.approx(end[0], abs=0.02)


def test_a_lost_value_stays_lost_and_starts_anew() -> None:
    smooth = OneEuro()
    smooth(np.float32([1, 5]), 0)
    lost = smooth(np.float32([1, np.nan]), SECOND // 30)
    assert np.isnan(lost[1])
    assert lost[0] == 1
    assert smooth(np.float32([1, 100]), SECOND // 15).tolist() == [1, 100]


def test_time_that_stands_still_changes_nothing() -> None:
    smooth = OneEuro()
    smooth(np.float32([1]), 5)
    assert smooth(np.float32([9]), 5)[0] == 1
    assert smooth(np.float32([9]), 4)[0] == 1


def test_bad_use_is_refused() -> None:
    with pytest.raises(UsageError):
        OneEuroOptions(min_cutoff_hz=0)
    smooth = OneEuro()
    smooth(np.zeros(3, np.float32), 0)
    with pytest.raises(ShapeMismatch):
        smooth(np.zeros(4, np.float32), 1)
    smooth.reset()
    assert smooth(np.zeros(4, np.float32), 2).shape == (4,)
