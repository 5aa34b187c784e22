"""Percentiles, rates, and the file they are written to."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from steadyframe.runtime.errors import SinkError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.stream.stats import WINDOW, Spread, Stats, StatsRecorder
from steadyframe.runtime.tasks.task import Result

FRAME = Frame(np.zeros((2, 2, 3), np.uint8))


def result(timings=None, *, age_ms=0.0, keyframe=True):
    return Result(FRAME, None, keyframe, age_ms, timings or {})


def test_percentiles_are_samples_that_were_seen():
    spread = Spread.of([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (spread.p50, spread.p95, spread.p99, spread.max, spread.mean, spread.count) == (3, 5, 5, 5, 3, 5)


def test_nothing_measured_is_not_zero():
    assert math.isnan(Spread.of([]).p50)
    assert Spread.of([]).count == 0
    stats = Stats()
    assert math.isnan(stats.fps)
    assert stats.as_json()["fps"] is None
    assert stats.as_json()["age_ms"]["p99"] is None


def test_the_first_result_does_not_count_as_a_sample():
    recorder = StatsRecorder()
    recorder.start()
    recorder.record(result({"infer": 900.0}, age_ms=1000.0))
    for _ in range(4):
        recorder.record(result({"infer": 2.0}, age_ms=3.0))
    stats = recorder.snapshot()
    assert stats.stages_ms["infer"].max == 2.0
    assert stats.age_ms.count == 4
    assert stats.frames == 5


def test_the_rate_leaves_out_the_burst_after_the_warm_up():
    recorder = StatsRecorder()
    recorder.start()
    time.sleep(0.2)  # warm-up
    for _ in range(16):  # what had filled the queues meanwhile
        recorder.record(result({}, age_ms=0))
    for _ in range(24):
        time.sleep(0.005)
        recorder.record(result({}, age_ms=0))
    stats = recorder.snapshot()
    assert stats.fps == pytest.approx(24 / (recorder._last_ns - recorder._settled_ns) * 1e9)
    assert stats.fps < 200  # a burst of 16 in no time would have made it more than the 5 ms steps allow


def test_a_short_stream_is_measured_by_its_whole_time():
    recorder = StatsRecorder()
    recorder.start()
    time.sleep(0.02)
    recorder.record(result({}, age_ms=0))
    stats = recorder.snapshot()
    assert stats.fps == pytest.approx(1 / stats.seconds)


def test_an_endless_stream_does_not_grow():
    recorder = StatsRecorder()
    for value in range(WINDOW + 500):
        recorder.record(result({"infer": float(value)}, age_ms=float(value)))
    stats = recorder.snapshot()
    assert stats.age_ms.count == WINDOW
    assert stats.stages_ms["infer"].max == WINDOW + 499
    assert stats.frames == WINDOW + 500


def test_stages_come_in_the_order_of_the_path_of_a_frame():
    recorder = StatsRecorder()
    for timings in ({}, {"decode": 1, "flow": 1, "write": 1}, {"decode": 1, "flow": 1, "infer": 1, "other": 1}):
        recorder.record(result(timings, age_ms=0))
    stats = recorder.snapshot()
    assert list(stats.stages_ms) == ["decode", "flow", "infer", "write", "other"]


def test_keyframes_are_counted_apart():
    recorder = StatsRecorder()
    for index in range(10):
        recorder.record(result({}, age_ms=0, keyframe=index % 5 == 0))
    stats = recorder.snapshot()
    assert (stats.frames, stats.keyframes) == (10, 2)


def test_the_file_is_json_with_the_facts_and_no_nan(tmp_path):
    recorder = StatsRecorder()
    recorder.record(result({"infer": 1.0}, age_ms=2.0))
    stats = recorder.snapshot()
    path = tmp_path / "s.json"
    stats.write(path, bundle="tiny")
    read = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert read["bundle"] == "tiny"
    assert read["frames"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.json"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot be written"):
        Stats().write(tmp_path / "file" / "s.json")
