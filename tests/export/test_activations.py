"""Noisy activations as graphs: no random node, few nodes, and the same figures in every engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import openvino
import pytest
import tensorrt_rtx
import torch
from numpy.typing import NDArray
from steadyframe.export.to_onnx import GraphSource, export_onnx
from steadyframe.models.activations import KINDS, NoisyGRU, NoisyLSTM, sigmoid, tanh
from torch import Tensor, nn

# What each costs; a change that adds a node must be seen here.
NODES = {
    ("sigmoid", "nan"): 6, ("tanh", "nan"): 4, ("sigmoid", "nah"): 12, ("tanh", "nah"): 10,
    ("sigmoid", "nani"): 21, ("tanh", "nani"): 20, ("sigmoid", "nanis"): 30, ("tanh", "nanis"): 27,
    ("sigmoid", "nanil"): 14, ("tanh", "nanil"): 12,
}  # fmt: skip


class _Output(nn.Module):
    """Only the sequence of a recurrent network, without its last state."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]


def in_onnxruntime(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


def in_openvino(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    engine = openvino.Core()
    # Without the hint some processors compute in bfloat16.
    compiled = engine.compile_model(
        engine.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return compiled({"x": x})["y"]


def tensorrt_parses(model: onnx.ModelProto) -> bool:
    logger = tensorrt_rtx.Logger(tensorrt_rtx.Logger.ERROR)
    builder = tensorrt_rtx.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt_rtx.OnnxParser(network, logger)
    parsed = parser.parse(model.SerializeToString())
    assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    return bool(network.num_outputs == 1)


def check(module: nn.Module, x: Tensor) -> onnx.ModelProto:
    model = export_onnx(GraphSource(module=module.eval(), example={"x": x}, outputs=["y"]))
    assert not [node.op_type for node in model.graph.node if "Random" in node.op_type]
    with torch.no_grad():
        expected = module(x).numpy()
    for engine in (in_onnxruntime, in_openvino):
        np.testing.assert_allclose(engine(model, x.numpy()), expected, atol=1e-5, rtol=0)
    assert tensorrt_parses(model)
    return model


@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize("function", [sigmoid, tanh], ids=["sigmoid", "tanh"])
def test_every_activation_in_every_engine(function: Callable[..., nn.Module], noise: str) -> None:
    torch.manual_seed(0)
    model = check(function(noise, 8), 4 * torch.randn(1, 8, 16, 16))
    assert len(model.graph.node) == NODES[function.__name__, noise], [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    ("net", "noise", "bidirectional"),
    [(NoisyLSTM, "nan", True), (NoisyGRU, "nah", True), (NoisyGRU, "nanil", False)],
)
def test_recurrent_networks_in_every_engine(net: type[nn.Module], noise: str, bidirectional: bool) -> None:
    torch.manual_seed(0)
    check(_Output(net(5, 6, batch_first=True, bidirectional=bidirectional, noise=noise)), 2 * torch.randn(2, 2, 5))
