"""Weights stored as float16: half the file, the same results, and nothing left of it once a precision is changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto
from steadyframe.calibration.half_weights import SCALE, SUFFIX
from steadyframe.calibration.prepare import prepared
from steadyframe.export.bundle import BundleFacts, export_bundle
from steadyframe.export.to_onnx import GraphSource, export_onnx
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.weights_file import rounded
from steadyframe.runtime.bundle.bundle import Bundle
from torch import nn

from .conftest import small_checkpoint


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 8, 3)).eval()
    made.load_state_dict(rounded(made.state_dict()))
    return made


def run(model: onnx.ModelProto, image: torch.Tensor) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image.numpy()})[0])


def test_rounded_weights_lose_nothing_and_take_half_the_room(net: nn.Module) -> None:
    image = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    source = GraphSource(module=net, example={"image": image}, outputs=["out"])
    plain, packed = export_onnx(source), export_onnx(source, half_weights=True)
    assert np.array_equal(run(plain, image), run(packed, image))
    weights = [t for t in packed.graph.initializer if t.name.endswith(SUFFIX)]
    assert len(weights) == 2 and all(t.data_type == TensorProto.FLOAT16 for t in weights)
    assert plain.ByteSize() - packed.ByteSize() > 0.9 * 2 * sum(int(np.prod(t.dims)) for t in weights)


def test_a_change_of_precision_starts_from_plain_weights(net: nn.Module) -> None:
    image = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    source = GraphSource(module=net, example={"image": image}, outputs=["out"])
    plain, packed = prepared(export_onnx(source)), prepared(export_onnx(source, half_weights=True))
    assert [node.op_type for node in packed.graph.node] == [node.op_type for node in plain.graph.node]
    assert {t.name: t.data_type for t in packed.graph.initializer} == {
        t.name: t.data_type for t in plain.graph.initializer
    }
    assert np.array_equal(run(plain, image), run(packed, image))


def test_folding_a_batch_norm_does_not_round_a_second_time() -> None:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 32, 3, bias=False), nn.BatchNorm2d(32))
    made(torch.rand(4, 3, 20, 24) * 7)
    nn.init.uniform_(made[1].weight, 0.3, 3)
    made.load_state_dict(rounded(made.state_dict()))
    image = torch.rand(1, 3, 20, 24)
    source = GraphSource(module=made.eval(), example={"image": image}, outputs=["out"])
    plain, packed = export_onnx(source), export_onnx(source, half_weights=True)
    assert any(t.name.endswith(SCALE) for t in packed.graph.initializer)
    assert np.abs(run(plain, image) - run(packed, image)).max() < 5e-6
    again = prepared(packed)
    assert not [t.name for t in again.graph.initializer if t.name.endswith((SCALE, SUFFIX))]
    assert [node.op_type for node in again.graph.node] == ["Conv"]
    assert np.abs(run(plain, image) - run(again, image)).max() < 5e-6


def test_a_bundle_carries_the_checkpoint_it_came_from(tmp_path: Path) -> None:
    checkpoint = small_checkpoint(None)
    full = export_bundle(checkpoint, tmp_path / "full", BundleFacts(name="full"))
    checkpoint.round_weights()
    bundle = export_bundle(checkpoint, tmp_path / "half", BundleFacts(name="half"))
    again = Checkpoint.load(bundle.folder, task="colorize")
    assert again.config == checkpoint.config and again.weights.keys() == checkpoint.weights.keys()
    assert all(torch.equal(again.weights[name], value) for name, value in checkpoint.weights.items())
    for role in bundle.manifest.graphs:
        sizes = [len(one.graph_bytes(role, "fp32")) for one in (full, bundle)]
        assert sizes[1] < 0.65 * sizes[0]
    assert "weights" not in Bundle.load(tmp_path / "half").manifest.graphs
