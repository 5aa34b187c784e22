"""Drawing in proportion to priorities."""

import numpy as np
import pytest
from steadyframe.models.hdqn.priorities import Priorities


@pytest.mark.parametrize("capacity", [1, 7, 27, 1_000, 1_331])
def test_every_place_is_drawn_as_often_as_its_priority_says(capacity):
    rng = np.random.default_rng(capacity)
    values = rng.uniform(0, 1, capacity) ** 2
    priorities = Priorities(capacity)
    order = rng.permutation(capacity)
    for part in np.array_split(order, min(5, capacity)):
        priorities.set(part, values[part])
    assert np.array_equal(priorities[np.arange(capacity)], values)
    places, total = priorities.draw(200_000, rng)
    assert total == pytest.approx(values.sum())
    # one draw from each equal part: the count of a place is its share to within two draws
    counts = np.bincount(places, minlength=capacity)
    assert np.abs(counts - 200_000 * values / values.sum()).max() <= 2


def test_a_place_that_was_set_again_has_its_new_priority_only():
    priorities = Priorities(100)
    priorities.set(np.arange(100), np.ones(100))
    priorities.set(np.array([4, 4, 50]), np.array([3.0, 3.0, 0.0]))  # a place may be drawn twice
    places, total = priorities.draw(10_100, np.random.default_rng(0))
    assert total == pytest.approx(101)
    counts = np.bincount(places, minlength=100)
    assert counts[50] == 0
    assert counts[4] == pytest.approx(300, abs=2)
