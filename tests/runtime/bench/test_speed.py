"""A file that plays as a camera, and the figures of several rounds."""

from __future__ import annotations

import time

import pytest
from steadyframe.runtime.bench.speed import PacedSource, measure_live, measure_speed
from steadyframe.runtime.bench.subject import Subject
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.temporal.options import SteadyOptions

MODES = {mode: SteadyOptions.of(mode) for mode in ("off", "keyframe")}


def test_rounds_are_counted_and_the_middle_one_is_shown(tiny_bundle):
    told = []
    with Subject(Bundle.load(str(tiny_bundle)), "test://?size=64x48&frames=30", MODES, limit=25) as subject:
        speeds = measure_speed(subject, rounds=3, on_round=told.append)
    assert told == ["off", "keyframe"] * 3
    for mode, speed in speeds.items():
        assert len(speed.fps) == 3
        assert speed.median_fps == sorted(speed.fps)[1]
        figures = speed.as_json()
        assert figures["frames"] == 25
        assert ("flow" in figures["stages_ms"]) == (mode == "keyframe")
    assert speeds["off"].as_json()["keyframe_share"] == 1
    assert speeds["keyframe"].as_json()["keyframe_share"] < 1


def test_a_paced_file_drops_what_nobody_takes_in_time(negative):
    def play(slow_s):
        source = PacedSource(open_source("test://?size=32x24&frames=40"), fps=200.0, count=40)
        assert source.info.live
        return Stream(source, Processor(negative(slow_s=slow_s), live=True), ["null://"]).run()

    calm, late = play(0.0), play(0.05)
    assert (calm.decoded, late.decoded) == (40, 40)
    assert late.dropped > 20
    assert late.frames + late.dropped == 40
    assert late.frames < calm.frames


def test_a_paced_file_can_be_stopped_while_it_waits():
    source = PacedSource(open_source("test://?size=32x24&frames=40"), fps=0.2, count=40)
    frames = iter(source)
    source.stop()
    begun = time.monotonic()
    assert next(frames, None) is None
    assert time.monotonic() - begun < 4
    source.close()


def test_the_age_is_that_of_a_live_stream(tiny_bundle):
    with Subject(Bundle.load(str(tiny_bundle)), "test://?size=64x48&frames=12&fps=100", MODES, limit=12) as subject:
        stats = measure_live(subject, "keyframe")
    assert stats.decoded == 12
    assert stats.age_ms.count == pytest.approx(stats.frames, abs=1)
