"""Every shipped bundle in every precision: made from a few real frames, judged on others, built with TensorRT-RTX.

`benchmarks/precisions.py` does the same with many frames.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json

import numpy as np
import pytest
from steadyframe.calibration.diversity import diverse_frames
from steadyframe.calibration.frames import frames_for
from steadyframe.calibration.judging import Judge, judging_devices
from steadyframe.calibration.precision import add_to_bundle, make_precision
from steadyframe.models.pose.evaluate import session_pck
from steadyframe.models.pose.people import load_people
from steadyframe.models.pose.skeleton import SKELETONS
from steadyframe.runtime.bundle.bundle import Bundle, shipped_bundles
from steadyframe.runtime.bundle.manifest import PRECISIONS
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.engines.shape_range import shape_ranges_of
from steadyframe.runtime.engines.tensorrt.plan import build_plan, plan_version

# task -> what calibrates, what judges; addresses in the data folder, and frames
SOURCES = {
    "colorize": (("videos/webcam_brother.mkv", 8), ("videos/webcam_hungry.mkv", 2)),
    "pose": (("photos/val/ccp*", 12), ("photos/val/ccp*", 1)),  # judged on labelled people
    "stylize": (("photos/val/huts*", 4), ("videos/webcam_hungry.mkv", 2)),
}


def smaller(bundle):
    """The bundle at half the resolution where it takes any: the same graphs in a quarter of the time."""

    def halved(graph):
        side = None if graph.preprocess is None else graph.preprocess.short_side
        if not side:
            return graph
        return dataclasses.replace(graph, preprocess=dataclasses.replace(graph.preprocess, short_side=side // 2))

    graphs = {role: halved(graph) for role, graph in bundle.manifest.graphs.items()}
    return Bundle(bundle.folder, dataclasses.replace(bundle.manifest, graphs=graphs))


# A policy decides in a tenth of a millisecond: there is nothing to gain by fewer bits, and no frames to calibrate on.
CALIBRATED = [name for name in shipped_bundles() if not name.startswith("policy-")]


@pytest.fixture(scope="module", params=CALIBRATED)
def whole(request, data_root, tmp_path_factory):
    """A shipped bundle with every precision, and frames that it was not calibrated on."""
    bundle = smaller(Bundle.load(request.param))
    (calibrating, count), (judging, few) = SOURCES[bundle.manifest.task]
    selection = diverse_frames(frames_for(bundle.manifest, str(data_root / calibrating), 3 * count), count)
    made = [make_precision(bundle, selection, precision) for precision in ("fp16", "int8")]
    frames = frames_for(bundle.manifest, str(data_root / judging), few)
    return add_to_bundle(bundle, tmp_path_factory.mktemp("whole") / request.param, made), frames


def test_every_precision_holds_on_every_engine_here(whole, data_root, tmp_path):
    bundle, frames = whole
    assert sorted(bundle.precisions()) == sorted(PRECISIONS)
    if bundle.manifest.task == "pose":
        lost = points_lost(bundle, data_root / "pose" / "lspet", tmp_path)
        assert max(lost.values()) <= 1.0, lost
        return
    judge = Judge(bundle, frames)
    for precision in PRECISIONS:
        contents = {role: bundle.graph_bytes(role, precision) for role in bundle.manifest.graphs}
        for device in judging_devices():
            values = judge.values(contents, device)
            assert judge.metric.holds(float(np.mean(values)), precision), (precision, device, values)


def points_lost(bundle, folder, scratch):
    """Points of PCK that each precision and device loses to float32, on labelled people."""
    labels = json.loads((folder / "val.json").read_text())
    labels["annotations"] = labels["annotations"][:100]
    (scratch / "val.json").write_text(json.dumps(labels))
    skeleton = SKELETONS["union-19"]
    people = load_people([scratch / "val.json"], skeleton, root=folder, size=320, cache=scratch)
    share = {
        (precision, device): session_pck(
            open_session(bundle, "pose", device=device, precision=precision), people, skeleton, count=len(people)
        )
        for precision in PRECISIONS
        for device in judging_devices()
    }
    plain = share["fp32", "cpu"]
    assert len(people) >= 80 and plain > 45
    return {where: plain - found for where, found in share.items()}


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="[tensorrt-rtx] is not installed")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_becomes_an_engine(whole, precision):
    bundle, _ = whole
    for role, graph in Bundle.load(bundle.manifest.name).manifest.graphs.items():
        content = bundle.graph_bytes(role, precision)
        assert plan_version(build_plan(content, shape_ranges_of(graph), library="tensorrt-rtx", name=role))
