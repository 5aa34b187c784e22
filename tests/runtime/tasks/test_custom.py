"""Task custom: any network that takes a frame."""

from __future__ import annotations

import json

import numpy as np
import pytest
from steadyframe.runtime.bundle.manifest import Graph, GraphFile, Manifest, Preprocess, TensorSpec
from steadyframe.runtime.errors import BundleError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.tasks.custom import Custom, NamedArrays
from steadyframe.runtime.tasks.registry import build_task
from steadyframe.runtime.tasks.sessions import TaskSessions
from steadyframe.runtime.temporal.dense import DenseStage
from steadyframe.runtime.temporal.lookahead import LookaheadStage
from steadyframe.runtime.temporal.options import SteadyOptions
from steadyframe.runtime.temporal.stage import EveryFrame

FILE = GraphFile("net.onnx", "0" * 64)
FRAME = TensorSpec("frame", "uint8", (1, 24, 32, 3), "NHWC")
IMAGE = TensorSpec("image", "uint8", (1, 24, 32, 3), "NHWC")


def manifest(*outputs, **changes):
    graph = Graph({"fp32": FILE}, (FRAME,), outputs, Preprocess("area", size_hw=(24, 32)))
    given = {"name": "mine", "task": "custom", "version": "1", "licence": "none", "graphs": {"net": graph}, **changes}
    return Manifest(**given)


def sessions(session, *, owned=False):
    return TaskSessions({"net": session}, owned=owned, name="custom")


class Fake:
    """A session that gives what it is told to, and remembers what it was fed."""

    device, inputs, outputs = "fake", (), ()

    def __init__(self, **outputs):
        self._outputs = outputs
        self.fed = None
        self.closed = False

    def run(self, feeds):
        self.fed = feeds
        return self._outputs

    def close(self):
        self.closed = True


def test_an_image_comes_back_at_the_frames_own_size():
    painted = np.arange(24 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(1, 24, 32, 3)
    session = Fake(image=painted)
    task = Custom(manifest(IMAGE), sessions(session, owned=True))
    feeds, placement = task.preprocess(Frame(np.full((48, 64, 3), 7, np.uint8)))
    assert feeds["frame"].shape == (1, 24, 32, 3)
    assert placement.scale_xy == (2.0, 2.0)
    outputs = task.infer(feeds)
    assert outputs[task.propagated.name].shape == (24, 32, 3)  # as a stage wants it
    assert task.postprocess(outputs, placement).pixels.shape == (48, 64, 3)
    propagated = {"image": np.full((24, 32, 3), 99.6, np.float32)}
    assert np.unique(task.postprocess(propagated, placement).pixels) == [100]
    task.close()
    assert session.closed


def test_values_keep_their_names_and_large_ones_stay_out_of_json():
    small, large = np.array([[1.5, 2.5]], np.float32), np.zeros((1, 2000), np.float32)
    specs = (TensorSpec("scores", "float32", (1, 2)), TensorSpec("map", "float32", (1, 2000)))
    task = Custom(manifest(*specs), sessions(Fake(scores=small, map=large)))
    frame = Frame(np.zeros((24, 32, 3), np.uint8))
    with Processor(task) as processor:
        (found,) = processor.process(frame)
    result = found.output
    assert isinstance(result, NamedArrays)
    assert task.propagated is None
    assert result.pixels is found.draw() is frame.pixels
    line = json.loads(json.dumps(result.as_json()))
    assert line == {"values": {"scores": [[1.5, 2.5]], "map": {"shape": [1, 2000]}}}


def test_a_bundle_of_another_form_is_refused():
    wrong = Graph({"fp32": FILE}, (FRAME,), (FRAME,), None)
    with pytest.raises(BundleError, match="not complete"):
        Custom(manifest(FRAME, graphs={"net": wrong}), sessions(Fake()))


def test_there_are_no_options():
    with pytest.raises(UsageError, match="no such option") as raised:
        build_task(manifest(FRAME), {"net": Fake()}, {"strength": 1})
    assert (raised.value.found, raised.value.available) == ("strength", ("none",))


def test_an_image_can_be_steadied_and_values_cannot():
    images, values = (Custom(manifest(spec), sessions(Fake())) for spec in (IMAGE, FRAME))
    assert isinstance(images.make_stage(SteadyOptions()), LookaheadStage)
    assert isinstance(images.make_stage(SteadyOptions(), live=True), DenseStage)
    assert isinstance(values.make_stage(SteadyOptions(mode="off")), EveryFrame)
    with pytest.raises(UsageError, match="no image that could be steadied"):
        values.make_stage(SteadyOptions())
