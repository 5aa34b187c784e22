"""When the network runs."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.motion.flow import Flow, FlowPair
from steadyframe.runtime.temporal.keyframes import KeyframeOptions, KeyframeRule
from steadyframe.runtime.temporal.scene_change import MotionAnalysis

START = MotionAnalysis()


def step(*, lost: float = 0.0, residual: float = 0.0, shift: float = 0.0, cut: bool = False) -> MotionAnalysis:
    """A frame of 80 x 60 whose left part, `lost` of its width, is unreliable."""
    grey = np.zeros((60, 80), np.uint8)
    backward = Flow.constant((60, 80), -shift)
    reliability = np.ones((60, 80), np.float32)
    reliability[:, : round(80 * lost)] = 0
    return MotionAnalysis(
        FlowPair(backward, Flow(-backward.vectors, forward=True), grey, grey), reliability, residual, cut
    )


def decisions(rule: KeyframeRule, steps: list[MotionAnalysis]) -> list[int]:
    return [i for i, each in enumerate(steps) if rule.decide(each)]


def test_every_n_frames() -> None:
    rule = KeyframeRule(KeyframeOptions(every=3))
    assert decisions(rule, [START] + [step()] * 9) == [0, 3, 6, 9]
    assert decisions(KeyframeRule(KeyframeOptions(every=1)), [START] + [step()] * 3) == [0, 1, 2, 3]


def test_a_cut_is_a_keyframe_and_the_count_starts_there() -> None:
    rule = KeyframeRule(KeyframeOptions(every=4))
    assert decisions(rule, [START, step(), step(cut=True), step(), step(), step(), step()]) == [0, 2, 6]


def test_auto_by_age() -> None:
    rule = KeyframeRule(KeyframeOptions(every=None, max_age=5))
    assert decisions(rule, [START] + [step()] * 11) == [0, 5, 10]


def test_auto_by_unreliable_share() -> None:
    rule = KeyframeRule(KeyframeOptions(every=None, unreliable_share=0.2, max_age=100))
    assert decisions(rule, [START] + [step(lost=0.1)] * 5) == [0]  # the same tenth again and again
    assert decisions(rule, [step(lost=0.3)]) == [0]
    # What was lost moves on with the image, and more is lost behind it: 0.05, 0.1, 0.15, 0.2, 0.25
    rule.reset()
    assert decisions(rule, [START] + [step(lost=0.05, shift=4)] * 7) == [0, 5]


def test_auto_by_residual_sums_up() -> None:
    rule = KeyframeRule(KeyframeOptions(every=None, residual=10, max_age=100))
    assert decisions(rule, [START] + [step(residual=3)] * 8) == [0, 4, 8]


def test_a_need_outlives_a_busy_network() -> None:
    rule = KeyframeRule(KeyframeOptions(every=2))
    assert rule.decide(START)
    assert not rule.decide(step())
    assert not rule.decide(step(), may_run=False)
    assert not rule.decide(step(), may_run=False)
    assert rule.decide(step())
    assert not rule.decide(step(cut=True), may_run=False)
    assert rule.decide(step())


def test_auto_keeps_a_distance_but_not_after_a_cut() -> None:
    rule = KeyframeRule(KeyframeOptions(every=None, unreliable_share=0.2, min_age=3))
    assert decisions(rule, [START] + [step(lost=0.9)] * 7) == [0, 3, 6]
    rule.reset()
    assert decisions(rule, [START, step(), step(cut=True), step(lost=0.9)]) == [0, 2]


def test_thresholds_out_of_range_are_refused() -> None:
    for wrong in (
        {"every": 0},
        {"unreliable_share": 0},
        {"residual": -1},
        {"max_age": 0},
        {"min_age": 0},
        {"min_age": 9},
    ):
        with pytest.raises(UsageError):
            KeyframeOptions(**wrong)
