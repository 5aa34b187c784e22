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


def scores_of(labels, count=3):
    """Scores, (1, C, h, w), whose highest is the label's."""
    return (np.arange(count)[:, None, None] == labels).astype(np.float32)[None]


def square_at(x):
    labels = np.zeros((24, 32), int)
    labels[6:18, x : x + 8] = 2
    return labels


def segmentation(**settings):
    spec = TensorSpec("segmentation", "float32", (1, 3, 24, 32))
    return manifest(spec, settings=settings)


def test_a_segmentation_has_labels_names_and_colors_over_the_frame():
    told = {"classes": ["nothing", "road", "person"], "palette": [[0, 0, 0], [0, 255, 0], [255, 0, 0]]}
    task = Custom(segmentation(**told), sessions(Fake(segmentation=scores_of(square_at(4)))))
    frame = Frame(np.full((48, 64, 3), 100, np.uint8))
    with Processor(task) as processor:
        (found,) = processor.process(frame)
    assert np.array_equal(found.output.values["segmentation"], square_at(4))
    assert found.output.as_json() == {"classes": {"nothing": 0.875, "person": 0.125}}
    drawn = found.draw()
    assert drawn.shape == (48, 64, 3)
    assert (drawn[2, 60] == 100).all()  # black lets the frame through
    assert drawn[24, 16, 2] > 150 > drawn[24, 16, 1]  # red, as its color is given in RGB


def test_a_segmentation_is_steadied_and_stays_one_of_its_classes():
    fake = Fake(segmentation=scores_of(square_at(4)))
    task = Custom(segmentation(), sessions(fake))
    texture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with Processor(task, task.make_stage(SteadyOptions(mode="blend"), live=True)) as processor:
        for index in range(4):
            fake._outputs = {"segmentation": scores_of(square_at(4 if index % 2 else 5))}  # its rim flickers
            (found,) = processor.process(Frame(texture, index, index))
            labels = found.output.values["segmentation"]
            assert set(np.unique(labels)) <= {0, 1, 2} and (labels[8:16, 6:11] == 2).all()
    assert found.output.classes == ("0", "1", "2")


def test_a_depth_map_is_drawn_in_a_range_that_does_not_jump():
    fake = Fake(depth=np.tile(np.linspace(1, 5, 32, dtype=np.float32), (24, 1))[None, None])
    task = Custom(manifest(TensorSpec("depth", "float32", (1, 1, 24, 32))), sessions(fake))
    frames = [Frame(np.zeros((48, 64, 3), np.uint8), index, index) for index in range(2)]
    with Processor(task) as processor:
        (first,) = processor.process(frames[0])
        assert first.output.values["depth"].shape == (24, 32)
        assert first.output.as_json()["depth"]["max"] == 5
        before = first.draw()
        fake._outputs = {"depth": np.where(np.arange(32) == 31, 500, fake._outputs["depth"]).astype(np.float32)}
        (second,) = processor.process(frames[1])
    assert before.shape == (48, 64, 3) and before[24, 2].astype(int).sum() < before[24, 60].astype(int).sum()
    assert np.abs(second.draw()[:, :56].astype(int) - before[:, :56]).mean() < 12


@pytest.mark.parametrize(
    "settings", [{"classes": ["a", "b"]}, {"classes": ["a", "b", "c"], "palette": [[0, 0, 0]]},
                 {"classes": ["a", "b", "c"], "palette": [[0, 0, 300]] * 3}],
)  # fmt: skip
def test_classes_that_do_not_fit_are_refused(settings):
    with pytest.raises(BundleError, match=r"classes|palette"):
        Custom(segmentation(**settings), sessions(Fake()))


def test_only_a_depth_map_without_a_range_of_its_own_remembers_frames_when_nothing_steadies():
    from steadyframe.runtime.tasks.registry import task_descriptor

    forgets = task_descriptor("custom").forgets
    motion = EveryFrame().observe(Frame(np.zeros((8, 8, 3), np.uint8)))
    fake = Fake(depth=np.zeros((1, 1, 24, 32), np.float32))
    following = Custom(manifest(TensorSpec("depth", "float32", (1, 1, 24, 32))), sessions(fake))
    assert not forgets(following, motion, {})
    labels = Fake(values=np.zeros((1, 3), np.float32))
    assert forgets(Custom(manifest(TensorSpec("values", "float32", (1, 3))), sessions(labels)), motion, {})
