"""Flicker and fidelity: the replay is what a stream does, and the figures are those of the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from steadyframe.runtime.bench.metrics import warping_error
from steadyframe.runtime.bench.quality import REFERENCE_FLOW, Quality, measure_quality
from steadyframe.runtime.bench.subject import Subject
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.errors import SourceError, UsageError
from steadyframe.runtime.motion.flow import Flow, FlowEstimator
from steadyframe.runtime.motion.masks import reliable
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.temporal.options import SteadyOptions

MODES = {mode: SteadyOptions.of(mode) for mode in ("off", "blend", "keyframe")}


@pytest.fixture
def webcam(data_root):
    with Subject(Bundle.load("colorize"), str(data_root / "videos/webcam_want.mkv"), MODES, limit=16) as subject:
        yield subject


@pytest.mark.parametrize("mode", MODES)
def test_the_replay_gives_the_images_of_a_stream(webcam, mode):
    with webcam.processor(mode) as processor:
        replayed = [result.output.pixels for result in processor.process_all(webcam.frames())]
    with Stream(webcam.source(), webcam.processor(mode), limit=16) as stream:
        streamed = [result.output.pixels for result in stream]
    assert len(streamed) == 16
    for one, other in zip(replayed, streamed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_flicker_and_fidelity_of_a_real_clip(webcam):
    frames = webcam.frames()
    measured = measure_quality(webcam, frames)
    assert measured is not None
    off, blend, keyframe = (measured[mode] for mode in MODES)
    assert (math.inf, 0.0) == (off.psnr_db, off.mean_delta_e)
    assert 30 < keyframe.psnr_db < 70
    assert 30 < blend.psnr_db < 70
    assert 0 < keyframe.mean_delta_e < 3
    assert blend.flicker < 0.8 * off.flicker
    assert keyframe.flicker < 0.8 * off.flicker
    assert len(off.masked) == 15
    assert len(off.delta_e) == 4

    # The same by hand, for one pair.
    with webcam.processor("off") as processor:
        results = processor.process_all(frames[:2])
        here, there = (result.outputs["crcb"].astype(np.float32) / 255 for result in results)
    estimator = FlowEstimator(REFERENCE_FLOW)
    estimator.step(frames[0].pixels)
    pair = estimator.step(frames[1].pixels)
    mask = reliable(pair.forward, pair.backward)
    expected = warping_error(here, there, Flow(pair.forward.vectors), mask)
    assert off.masked[0] == pytest.approx(expected.masked)
    assert off.all_pixels[0] == pytest.approx(expected.all_pixels)


def test_a_run_looks_ahead_unless_it_plays_a_camera(webcam):
    assert webcam.processor("keyframe").stage.lookahead > 0
    live = webcam.processor("keyframe", live=True)
    assert live.live and live.stage.lookahead == 0
    one, other = webcam.processor("off"), webcam.processor("off")
    assert one.task is not other.task  # on the same sessions, side by side


def test_figures_of_known_lists():
    quality = Quality([1e-6, 3e-6, math.nan], [1e-6, 2e-6, 0.0], [0.0, 650.25], [1.0, 2.0])
    assert quality.flicker == pytest.approx(2e-6)  # a pair without a reliable pixel says nothing
    assert quality.flicker_p95 == pytest.approx(2.9e-6)
    assert quality.psnr_db == pytest.approx(10 * math.log10(255**2 / 325.125))
    report = quality.as_json()
    assert report["fidelity"]["worst_frame_psnr_db"] == pytest.approx(20.0)
    assert report["flicker"]["pairs"] == 3


def test_a_camera_and_a_single_frame_are_refused(tiny_bundle, camera_server):
    bundle = Bundle.load(str(tiny_bundle))
    with pytest.raises(UsageError, match="several times"):
        Subject(bundle, camera_server().address, MODES)
    with Subject(bundle, "test://?size=64x48&frames=1", MODES) as subject, pytest.raises(SourceError) as failure:
        subject.frames()
    assert failure.value.exit_code == 5
    assert "2 frames or more" in str(failure.value)
