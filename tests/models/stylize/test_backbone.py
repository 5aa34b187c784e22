"""The frozen networks: what torch makes of an ONNX file is what ONNX Runtime makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from steadyframe.models.stylize.backbone import OnnxNet, Teacher, load_backbone
from steadyframe.runtime.errors import BundleError

TEACHERS = ("wave", "scream", "wreck", "udnie")


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_every_layer_of_the_darknet_is_that_of_onnx_runtime(data_root: Path) -> None:
    path = data_root / "teachers" / "perceptual" / "darknet_tiny.onnx"
    image = np.random.default_rng(0).random((2, 3, 64, 96), np.float32)
    reference = session(path)
    names = [output.name for output in reference.get_outputs()]
    expected = dict(zip(names, reference.run(names, {"input": image}), strict=True))
    with torch.no_grad():
        found = OnnxNet(path)(torch.from_numpy(image))
    assert list(found) == names
    for name in names:
        assert np.abs(found[name].numpy() - expected[name]).max() < 1e-4 * np.abs(expected[name]).max(), name


@pytest.mark.parametrize("name", TEACHERS)
def test_teachers_paint_as_in_onnx_runtime(data_root: Path, name: str) -> None:
    path = data_root / "teachers" / "style" / f"{name}.onnx"
    rgb = np.random.default_rng(1).random((1, 3, 48, 64), np.float32) * 255
    (expected,) = session(path).run(None, {"rgb": rgb})
    found = Teacher(path)(torch.from_numpy(rgb[:, ::-1].copy()) / 255)
    assert np.abs(found.numpy()[:, ::-1] * 255 - expected).max() < 0.05  # grey levels


def test_the_backbone_passes_gradients_to_the_image_and_keeps_its_weights(data_root: Path) -> None:
    backbone = load_backbone(str(data_root / "teachers" / "perceptual" / "darknet_tiny.onnx"))
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    layers = backbone(image)
    assert set(backbone.style) | set(backbone.content) == set(layers)
    sum(layer.square().mean() for layer in layers.values()).backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert not list(backbone.parameters())


def test_unknown_networks_are_refused(data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"vgg16, vgg19 or an \.onnx file"):
        load_backbone("resnet")
    with pytest.raises(BundleError, match="There is no network"):
        OnnxNet(tmp_path / "missing.onnx")
    with pytest.raises(BundleError, match="no tensors"):
        OnnxNet(data_root / "teachers" / "style" / "wave.onnx", ["relu99"])
