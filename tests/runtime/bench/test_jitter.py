"""Lag and jitter of paths whose delay and noise are known."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.bench.jitter import SHIFTS, lag_costs, second_differences

UNIT = 150.0


def hand(times: np.ndarray) -> np.ndarray:
    """A hand that signs and a shoulder that hardly moves, (T, 2, 2) in pixels."""
    rise = 120 / (1 + np.exp(-(times - 25) / 3)) - 120 / (1 + np.exp(-(times - 60) / 4))
    wrist = np.stack((300 + rise, 200 + 0.7 * rise + 10 * np.sin(times / 7)), -1)
    shoulder = np.stack((250 + 0.5 * np.sin(times / 20), 100 + 0 * times), -1)
    return np.stack((wrist, shoulder), 1)


def noise(seed: int, level: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, (90, 2, 2))


TIMES = np.arange(90.0)


@pytest.mark.parametrize("delay", [-1.0, 0.0, 0.3, 0.5, 1.0, 2.6])
@pytest.mark.parametrize("level", [0.0, 1.5])
def test_a_known_delay_is_found(delay, level):
    found = lag_costs(hand(TIMES - delay) + noise(1, level), hand(TIMES) + noise(2, level), UNIT)
    assert found.lag == pytest.approx(delay, abs=0.12)
    assert found.used > 100 and found.motion > 1.5


def test_a_noisy_reference_does_not_favour_half_frames():
    lags = [lag_costs(hand(TIMES), hand(TIMES) + noise(seed, 6.0), UNIT).lag for seed in range(8)]
    assert abs(np.mean(lags)) < 0.1


def test_a_causal_average_is_late_by_half_its_window():
    path = np.stack([hand(TIMES - k) for k in range(5)]).mean(0)
    assert lag_costs(path, hand(TIMES), UNIT).lag == pytest.approx(2.0, abs=0.15)


def test_jumps_of_the_reference_are_left_out():
    reference = hand(TIMES)
    reference[40:44, 0] += (250, 0)  # for four frames the network takes something else for the hand
    late = hand(TIMES - 1)
    late[44:50, 0] += (90, 0)  # and the path goes there when it is over
    assert lag_costs(late, reference, UNIT, jump=9.0).lag > 1.3
    found = lag_costs(late, reference, UNIT)
    assert found.lag == pytest.approx(1.0, abs=0.15)
    assert found.used < found.known


def test_clips_are_added_and_the_one_that_moves_counts():
    still = np.tile(hand(TIMES)[:1], (90, 1, 1))
    resting = lag_costs(still + noise(3, 1), still + noise(4, 1), UNIT)
    moving = lag_costs(hand(TIMES - 2), hand(TIMES), UNIT)
    assert (resting + moving).lag == pytest.approx(2.0, abs=0.1)


def test_without_anything_to_compare_there_is_no_lag():
    nowhere = np.full((90, 2, 2), np.nan)
    found = lag_costs(hand(TIMES), nowhere, UNIT)
    assert np.isnan(found.lag) and found.used == 0 and len(found.costs) == len(SHIFTS)


def test_second_differences_are_thousandths_of_the_unit():
    path = np.zeros((5, 1, 2))
    path[2] = (3, 4)
    assert second_differences(path, 100.0).tolist() == [50, 100, 50]
    path[4] = np.nan
    assert second_differences(path, 100.0).tolist() == [50, 100]
