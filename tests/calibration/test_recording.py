"""What the graphs were fed with is what the runtime's own preprocessing makes."""

from __future__ import annotations

import numpy as np
from steadyframe.calibration.recording import RecordingSession, recorded_feeds
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.image import preprocess_pixels

FRAMES = [Frame(np.random.default_rng(i).integers(0, 256, (90, 120, 3), dtype=np.uint8), index=i) for i in range(3)]


def test_every_frame_reaches_every_graph_as_the_runtime_prepares_it():
    bundle = Bundle.load("colorize")
    fed = list(recorded_feeds(bundle, FRAMES))
    assert len(fed) == 3
    for frame, roles in zip(FRAMES, fed, strict=True):
        for role, graph in bundle.manifest.graphs.items():
            (feeds,) = roles[role]
            assert np.array_equal(feeds["frame"][0], preprocess_pixels(frame.pixels, graph.preprocess))
    assert fed[0]["color"][0]["global_features"].std() > 0


def test_a_recording_session_forgets_when_told():
    bundle = Bundle.load("colorize")
    session = RecordingSession(open_session(bundle, "global", device="cpu"))
    feeds = {"frame": np.zeros((1, 224, 224, 3), np.uint8)}
    found = session.run(feeds)
    session.run(feeds)
    assert len(session.runs) == 2
    assert set(session.seen) == {"frame", "global_features"}
    assert np.array_equal(session.seen["global_features"], found["global_features"])
    session.forget()
    assert session.runs == [] and session.seen == {}
