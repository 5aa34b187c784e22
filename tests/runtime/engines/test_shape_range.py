"""The range of shapes that an engine is built for."""

from __future__ import annotations

import pytest
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.bundle.manifest import Graph, GraphFile, Preprocess, TensorSpec
from steadyframe.runtime.engines.shape_range import ShapeRange, shape_ranges_of, shapes_text
from steadyframe.runtime.errors import BundleError
from steadyframe.runtime.image import network_size_wh


def graph(*inputs: TensorSpec, preprocess: Preprocess | None = None) -> Graph:
    return Graph({"fp32": GraphFile("x.onnx", "0" * 64)}, inputs, (TensorSpec("y", "float32", (1,)),), preprocess)


FRAME = TensorSpec("frame", "uint8", (1, "height", "width", 3), "NHWC")


def test_fixed_axes_are_their_own_range():
    extent = shape_ranges_of(graph(TensorSpec("x", "float32", (1, 3, 8, 8))))["x"]
    assert extent.fixed and extent.opt == (1, 3, 8, 8) and str(extent) == "1x3x8x8"


@pytest.mark.parametrize(
    "preprocess", [Preprocess("area", short_side=192, multiple=8), Preprocess("area", short_side=97)]
)
@pytest.mark.parametrize("frame_wh", [(640, 480), (480, 640), (1920, 1080), (2048, 858), (1080, 2340), (500, 500)])
def test_every_camera_fits(preprocess, frame_wh):
    extent = shape_ranges_of(graph(FRAME, preprocess=preprocess))["frame"]
    width, height = network_size_wh(frame_wh, preprocess)
    assert extent.holds((1, height, width, 3))
    assert not extent.holds((2, height, width, 3)) and not extent.holds((height, width, 3))
    assert not extent.fixed


def test_the_shape_to_optimize_for_is_that_of_a_landscape_frame():
    extent = shape_ranges_of(graph(FRAME, preprocess=Preprocess("area", short_side=192, multiple=8)))["frame"]
    assert extent == ShapeRange((1, 192, 192, 3), (1, 192, 344, 3), (1, 464, 464, 3))


def test_a_fixed_size_is_one_shape():
    extent = shape_ranges_of(graph(FRAME, preprocess=Preprocess("area", size_hw=(224, 224))))["frame"]
    assert extent == ShapeRange(*[(1, 224, 224, 3)] * 3)


@pytest.mark.parametrize(
    ("spec", "preprocess"),
    [
        (FRAME, None),
        (TensorSpec("x", "float32", ("batch", 3)), None),
        (TensorSpec("x", "float32", (1, "channels"), "NC"), Preprocess("area", short_side=192)),
    ],
)
def test_an_axis_of_unknown_length_is_an_error(spec, preprocess):
    with pytest.raises(BundleError, match="the manifest has none for axis"):
        shape_ranges_of(graph(spec, preprocess=preprocess))


def test_the_text_is_that_of_the_ranges(tiny_bundle):
    shape_ranges = shape_ranges_of(Bundle.load(tiny_bundle).manifest.graphs["color"])
    text = shapes_text(shape_ranges)
    assert text == "frame=1x96x96x3..1x96x168x3..1x232x232x3; global_features=1x3"
    assert shapes_text(dict(reversed(shape_ranges.items()))) == text


def test_an_axis_of_independent_inputs_takes_one_or_a_batch():
    file = {"fp32": GraphFile("x.onnx", "0" * 64)}
    spec = TensorSpec("observation", "float32", ("batch", 13), "NC")
    found = shape_ranges_of(Graph(file, (spec,), (spec,)))["observation"]
    assert (found.min, found.opt, found.max) == ((1, 13), (1, 13), (64, 13))
