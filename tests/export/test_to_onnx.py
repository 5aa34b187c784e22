"""What leaves the exporter is deterministic, folded, clean, and the same function."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from steadyframe.export.graphs import task_graphs
from steadyframe.export.to_onnx import GraphSource, export_onnx, fold_batch_norm
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.errors import BundleError, UsageError
from torch import Tensor, nn


def nodes_of(bundle: Bundle, role: str) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(bundle.graph_bytes(role, "fp32")).graph.node]


@pytest.mark.parametrize("role", ["global", "color"])
def test_no_random_node_and_no_batch_norm_after_convolutions(bundle: Bundle, role: str) -> None:
    nodes = nodes_of(bundle, role)
    assert not [name for name in nodes if name.startswith("Random") or name in ("Dropout", "Bernoulli")]
    assert (
        nodes.count("BatchNormalization") <= 1
    )  # the one behind the fusion's sum, which no single layer can take in


@pytest.mark.parametrize("role", ["global", "color"])
def test_eight_bit_values_meet_a_cast_and_nothing_else(bundle: Bundle, role: str) -> None:
    graph = onnx.load_from_string(bundle.graph_bytes(role, "fp32")).graph
    readers = [node.op_type for node in graph.node if "frame" in node.input]
    assert readers == ["Cast"]  # TensorRT takes uint8 nowhere else


@pytest.mark.parametrize("size_hw", [(192, 256), (64, 136), (8, 8)])
def test_dynamic_sizes_give_what_torch_gives(
    bundle: Bundle, checkpoint: Checkpoint, size_hw: tuple[int, int]
) -> None:
    module = task_graphs(checkpoint).graphs["color"].module
    frame = torch.randint(0, 256, (1, *size_hw, 3), dtype=torch.uint8)
    features = torch.rand(1, 32)
    session = ort.InferenceSession(bundle.graph_bytes("color", "fp32"), providers=["CPUExecutionProvider"])
    found = session.run(["ab"], {"frame": frame.numpy(), "global_features": features.numpy()})[0]
    with torch.no_grad():
        expected = module(frame, features).numpy()
    assert found.shape == (1, size_hw[0] // 2, size_hw[1] // 2, 2)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("role", ["global", "color"])
def test_nothing_speaks_of_the_exporting_machine(bundle: Bundle, role: str) -> None:
    content = bundle.graph_bytes(role, "fp32")
    for trace in (str(Path.cwd()), str(Path.home()), sys.prefix, "site-packages", "stack_trace"):
        assert trace.encode() not in content


def test_axes_have_names(bundle: Bundle) -> None:
    graph = bundle.manifest.graphs["color"]
    assert graph.inputs[0].axes == (1, "height", "width", 3)
    assert graph.outputs[0].axes == (1, "ab_1", "ab_2", 2)
    assert graph.inputs[0].layout == graph.outputs[0].layout == "NHWC"


def test_folding_changes_nothing_but_the_layers() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.BatchNorm1d(5),
    )
    net(torch.rand(8, 3, 4, 4))
    net.eval()
    x = torch.rand(2, 3, 4, 4)
    expected = net(x)
    folded = fold_batch_norm(net)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    torch.testing.assert_close(folded(x), expected)


class Dice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


def test_random_nodes_are_refused() -> None:
    source = GraphSource(module=Dice(), example={"x": torch.rand(1, 3)}, outputs=["y"])
    with pytest.raises(BundleError, match=r"not deterministic.*RandomNormalLike"):
        export_onnx(source)


def test_unknown_task_is_refused() -> None:
    with pytest.raises(UsageError, match="colorize"):
        task_graphs(Checkpoint(task="sing", config={}, weights={}))
