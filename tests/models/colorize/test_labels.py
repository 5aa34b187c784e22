"""Soft labels: the classifier is shown RGB in [0, 1], and its opinion is kept beside the photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from steadyframe.models.colorize.labels import mean_chroma, of_classifier
from steadyframe.models.data import PhotoCrops

BGR = {"blue": (200, 0, 0), "green": (0, 200, 0), "red": (0, 0, 200), "grey": (90, 90, 90)}


@pytest.fixture
def crops(tmp_path: Path) -> PhotoCrops:
    (tmp_path / "photos").mkdir()
    for name, color in BGR.items():
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), np.full((32, 32, 3), color, np.uint8))
    return PhotoCrops.of_folders([tmp_path / "photos"], side=32, cache=tmp_path / "cache")


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """Scores are ten times the mean of each channel: class 0 is whatever comes first."""
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "ten"], ["scores"]),
    ]
    axes = numpy_helper.from_array(np.array([2, 3], np.int64), "axes")
    ten = numpy_helper.from_array(np.array(10, np.float32), "ten")
    graph = helper.make_graph(
        nodes, "classifier", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])], [axes, ten],
    )  # fmt: skip
    path = tmp_path / "channels.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_the_classifier_sees_rgb_between_0_and_1(crops: PhotoCrops, classifier: Path) -> None:
    labels = of_classifier(crops, classifier).astype(np.float64)
    names = [name.rpartition("/")[2].removesuffix(".png") for name in crops.names]
    np.testing.assert_allclose(labels.sum(1), 1, atol=2e-3)
    rows = dict(zip(names, labels, strict=True))
    assert (rows["red"].argmax(), rows["green"].argmax(), rows["blue"].argmax()) == (0, 1, 2)
    share = np.exp(10 * 200 / 255)
    assert rows["red"][0] == pytest.approx(share / (share + 2), abs=1e-3)
    classifier.unlink()
    assert np.array_equal(of_classifier(crops, classifier), labels.astype(np.float16))  # from the file beside


def test_chroma_tells_grey_photos_from_colored_ones(crops: PhotoCrops) -> None:
    chroma = dict(zip((name.rpartition("/")[2] for name in crops.names), mean_chroma(crops), strict=True))
    assert chroma["grey.png"] < 0.1
    assert min(chroma["red.png"], chroma["green.png"], chroma["blue.png"]) > 40
