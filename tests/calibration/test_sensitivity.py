"""The search keeps as few nodes as the task allows."""

from __future__ import annotations

import pytest
from steadyframe.calibration.sensitivity import fewest_kept, worst_first
from steadyframe.runtime.errors import CalibrationError

NODES = [f"n{i}" for i in range(100)]


@pytest.mark.parametrize("needed", [0, 1, 2, 37, 99, 100])
def test_exactly_as_many_as_are_needed(needed):
    asked = []

    def holds(kept):
        asked.append(len(kept))
        return len(kept) >= needed

    assert fewest_kept(NODES, holds) == NODES[:needed]
    assert len(asked) <= 10


def test_a_task_that_never_holds_is_an_error():
    with pytest.raises(CalibrationError, match="even with every node"):
        fewest_kept(NODES, lambda kept: False)


def test_the_worst_comes_first_and_nan_before_it():
    damage = {"a": 0.0, "b": float("nan"), "c": float("inf"), "d": 2.0}
    assert worst_first(list(damage), damage.__getitem__) == ["b", "c", "d", "a"]
