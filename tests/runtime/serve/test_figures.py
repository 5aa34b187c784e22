"""The live figures: what they say of a result that stands still, flickers, moves, or does not come."""

from __future__ import annotations

import time

import numpy as np
import pytest
from steadyframe.runtime.bundle.manifest import Skeleton
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.serve.figures import Figures, Flicker, temperature_c
from steadyframe.runtime.tasks.pose.people import People, Person
from steadyframe.runtime.tasks.task import Image, Result

GREY = np.full((108, 192, 3), 90, np.uint8)


def result(output: np.ndarray, seen: np.ndarray = GREY, *, keyframe: bool = True, age_ms: float = 10.0) -> Result:
    return Result(Frame(seen), Image(output), keyframe, age_ms, {"infer": 4.0, "flow": 1.0, "decode": 100.0})


def test_flicker_is_the_change_where_the_input_stands_still():
    flicker = Flicker()
    assert flicker.of(result(GREY)) is None  # nothing to compare with
    assert flicker.of(result(GREY)) == 0
    assert flicker.of(result(GREY + 8)) == pytest.approx(8, abs=0.1)
    half_moves = GREY.copy()
    half_moves[:, 96:] = 200
    brighter = GREY + 8
    brighter[:, 96:] = 0  # changes only where the input does, too
    assert flicker.of(result(brighter, half_moves)) == pytest.approx(0, abs=1.0)
    assert flicker.of(result(GREY, np.full_like(GREY, 5))) is None  # all of it moves


def test_jitter_of_joints_ignores_an_even_motion():
    skeleton = Skeleton("two", ("nose", "neck"), ((0, 1),), (0, 1))

    def people(x: float) -> Result:
        frame = Frame(GREY)
        joints = np.array([[x, 20.0, 0.9], [x, 50.0, 0.9]], np.float32)
        return Result(frame, People((Person(3, 0.9, (0.0, 0.0, 9.0, 9.0), joints),), skeleton, frame))

    flicker = Flicker()
    assert [flicker.of(people(x)) for x in (10.0, 14.0, 18.0)] == [None, None, 0.0]
    assert flicker.of(people(19.0)) == pytest.approx(3.0)


def test_rate_age_and_share_of_keyframes(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    figures = Figures()
    assert set(figures.as_json().values()) == {None}
    for index in range(200):
        now[0] += 0.05
        figures.record(result(GREY, keyframe=index % 4 == 0, age_ms=float(index % 10)))
    found = figures.as_json()
    assert found["fps"] == pytest.approx(20.0) and found["keyframes"] == pytest.approx(0.25, abs=0.02)
    assert found["age_p50"] in (4, 5) and found["age_p95"] == 9 and found["work_ms"] == 5.0
    assert set(figures.as_json(silent=True).values()) == {None}
    now[0] += 60
    assert set(figures.as_json().values()) == {None}
    assert figures.frames == 200 and figures.keyframes == 50


def test_two_results_in_a_burst_give_no_rate(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    figures = Figures()
    for _ in range(2):
        now[0] += 0.001
        figures.record(result(GREY))
    assert figures.as_json()["fps"] is None


def test_the_hottest_zone_is_told(tmp_path):
    assert temperature_c(tmp_path) is None
    for number, text in enumerate(("47000\n", "none", "-273000", "61250")):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}" / "temp").write_text(text)
    assert temperature_c(tmp_path) == 61.25
