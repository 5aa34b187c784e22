"""The quality metrics of the tasks, on cases whose answer is known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from steadyframe.calibration import quality
from steadyframe.calibration.quality import (
    delta_e,
    lost_joints,
    psnr_db,
    quality_metric_of,
    signal_db,
)
from steadyframe.runtime.bundle.manifest import Skeleton
from steadyframe.runtime.errors import BundleError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.tasks.custom import NamedArrays
from steadyframe.runtime.tasks.pose.people import People, Person
from steadyframe.runtime.tasks.registry import task_descriptor
from steadyframe.runtime.tasks.task import Image

SKELETON = Skeleton("two", ("left_eye", "right_eye"), ((0, 1),), (1, 0))


def flat(*bgr):
    return Image(np.full((8, 8, 3), bgr, np.uint8))


def people(*joints):
    frame = Frame(np.zeros((100, 100, 3), np.uint8))
    persons = [Person(i, 0.9, (0, 0, 60, 80), np.array(one, np.float32)) for i, one in enumerate(joints)]
    return People(tuple(persons), SKELETON, frame)


def test_delta_e_of_black_and_white_is_a_hundred():
    assert delta_e(flat(0, 0, 0), flat(255, 255, 255)) == pytest.approx(100, abs=0.1)
    assert delta_e(flat(9, 8, 7), flat(9, 8, 7)) == 0


def test_psnr_of_one_grey_level_is_48_db():
    assert psnr_db(flat(100, 100, 100), flat(101, 101, 101)) == pytest.approx(20 * math.log10(255))
    assert psnr_db(flat(1, 2, 3), flat(1, 2, 3)) == 99


def test_joints_are_lost_when_they_are_far_or_nobody_is_there():
    seen = people([(10, 10, 0.9), (30, 10, 0.9)])
    near, far = people([(12, 10, 0.1), (30, 15, 0.9)]), people([(10, 10, 0.9), (50, 10, 0.9)])
    assert lost_joints(seen, seen) == 0
    assert lost_joints(seen, near) == 0
    assert lost_joints(seen, far) == 50
    assert lost_joints(seen, people()) == 100
    assert lost_joints(people(), seen) is None
    assert lost_joints(people([(10, 10, 0.1), (30, 10, 0.9)]), far) == 100  # a joint in doubt is no measure


@pytest.mark.parametrize("task", ["colorize", "custom", "pose", "stylize"])
def test_nan_never_holds(task):
    for precision in ("fp16", "int8"):
        assert not quality_metric_of(task).holds(float("nan"), precision)


def test_the_direction_of_every_metric():
    assert quality_metric_of("colorize").holds(0.9, "int8") and not quality_metric_of("colorize").holds(1.1, "int8")
    assert quality_metric_of("stylize").holds(36, "fp16") and not quality_metric_of("stylize").holds(34, "fp16")
    assert quality_metric_of("stylize").holds(29, "int8")


def test_a_task_without_a_quality_metric_is_refused(monkeypatch):
    bare = dataclasses.replace(task_descriptor("colorize"), quality_metric="")
    monkeypatch.setattr(quality, "task_descriptor", lambda name: bare)
    with pytest.raises(UsageError, match="no quality metric"):
        quality_metric_of("colorize")


def test_a_task_that_is_not_there_is_refused():
    with pytest.raises(BundleError, match="no task 'abacus'"):
        quality_metric_of("abacus")


def test_a_tenth_of_the_signal_is_20_db_and_the_worst_output_counts():
    frame = Frame(np.zeros((4, 4, 3), np.uint8))
    right = NamedArrays({"a": np.full(4, 10.0), "b": np.full(4, 1.0), "zero": np.zeros(4)}, frame)
    wrong = NamedArrays({"a": np.full(4, 11.0), "b": np.full(4, 1.01), "zero": np.ones(4)}, frame)
    assert signal_db(right, wrong) == pytest.approx(20)
    assert signal_db(right, right) == 99
    assert signal_db(flat(100, 100, 100), flat(110, 110, 110)) == pytest.approx(20)
    assert signal_db(flat(0, 0, 0), flat(1, 1, 1)) is None


def test_what_decides_must_be_better_than_the_limit():
    assert quality_metric_of("pose").holds(0.9, "int8") and not quality_metric_of("pose").holds(
        0.9, "int8", with_reserve=True
    )
    assert quality_metric_of("stylize").holds(28.5, "int8") and not quality_metric_of("stylize").holds(
        28.5, "int8", with_reserve=True
    )
    assert quality_metric_of("stylize").holds(29.5, "int8", with_reserve=True)
