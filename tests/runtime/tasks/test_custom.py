"""Task own: any network that takes a frame."""

from __future__ import annotations

import json

import numpy as np
import pytest
from steadyframe.runtime.bundle.manifest import Graph, GraphFile, Manifest, Preprocess, TensorSpec
from steadyframe.runtime.errors import BundleError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.tasks.custom import Custom, NamedArrays, open_custom

FILE = GraphFile("net.onnx", "0" * 64)
FRAME = TensorSpec("frame", "uint8", (1, 24, 32, 3), "NHWC")


def manifest(*outputs, **changes):
    graph = Graph({"fp32": FILE}, (FRAME,), outputs, Preprocess("area", size_hw=(24, 32)))
    given = {"name": "mine", "task": "own", "version": "1", "licence": "none", "graphs": {"net": graph}, **changes}
    return Manifest(**given)


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


def test_a_image_comes_back_at_the_frames_own_size():
    painted = np.arange(24 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(1, 24, 32, 3)
    session = Fake(image=painted)
    task = Custom(manifest(TensorSpec("image", "uint8", (1, 24, 32, 3), "NHWC")), {"net": session})
    feeds, placement = task.preprocess(Frame(np.full((48, 64, 3), 7, np.uint8)))
    assert feeds["frame"].shape == (1, 24, 32, 3)
    assert placement.scale_xy == (2.0, 2.0)
    outputs = task.infer(feeds)
    assert outputs[task.carried].shape == (24, 32, 3)  # as a steadier wants it
    assert task.postprocess(outputs, placement).pixels.shape == (48, 64, 3)
    carried = {"image": np.full((24, 32, 3), 99.6, np.float32)}
    assert np.unique(task.postprocess(carried, placement).pixels) == [100]
    task.close()
    assert session.closed


def test_values_keep_their_names_and_large_ones_stay_out_of_json():
    small, large = np.array([[1.5, 2.5]], np.float32), np.zeros((1, 2000), np.float32)
    specs = (TensorSpec("scores", "float32", (1, 2)), TensorSpec("map", "float32", (1, 2000)))
    task = Custom(manifest(*specs), {"net": Fake(scores=small, map=large)})
    frame = Frame(np.zeros((24, 32, 3), np.uint8))
    feeds, placement = task.preprocess(frame)
    result = task.postprocess(task.infer(feeds), placement)
    assert isinstance(result, NamedArrays)
    assert task.carried is None
    assert result.pixels is frame.pixels
    line = json.loads(json.dumps(result.as_json()))
    assert line == {"values": {"scores": [[1.5, 2.5]], "map": {"shape": [1, 2000]}}}


def test_a_bundle_of_another_form_is_refused():
    wrong = Graph({"fp32": FILE}, (FRAME,), (FRAME,), None)
    with pytest.raises(BundleError, match="not complete"):
        Custom(manifest(FRAME, graphs={"net": wrong}), {"net": Fake()})
    with pytest.raises(UsageError, match="no options"):
        open_custom(manifest(FRAME), {"net": Fake()}, {"strength": 1})
