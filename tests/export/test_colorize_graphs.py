"""A colorizer that predicts a distribution leaves the exporter as one that gives `ab`, with its two knobs inside."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime as ort
import pytest
import torch
from steadyframe.export.graphs import task_graphs
from steadyframe.export.to_onnx import export_onnx
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.colorize.bins import annealed_mean, num_bins
from steadyframe.models.colorize.net import Colorizer, ColorizerOptions, fold_knobs

KNOBS = ((0.5, 0.5), (1.0, 0.0), (0.3, 1.0))


def _checkpoint(temperature: float, undo: float) -> Checkpoint:
    torch.manual_seed(0)
    options = ColorizerOptions(
        width=0.125, color_width=0.25, batch_norm=True, fusion="relu", head="distribution", temperature=temperature,
        undo=undo,
    )  # fmt: skip
    net = Colorizer(options)
    net.log_weights.copy_(torch.randn(num_bins()))
    for _ in range(3):  # moves the batch norms' running statistics
        net(torch.rand(2, 1, 224, 224))
    return Checkpoint(task="colorize", config={"net": dataclasses.asdict(options)}, weights=net.state_dict())


@pytest.mark.parametrize(("temperature", "undo"), KNOBS)
def test_graph_gives_the_annealed_mean(temperature: float, undo: float) -> None:
    checkpoint = _checkpoint(temperature, undo)
    net = Colorizer(ColorizerOptions(**checkpoint.config["net"]))
    net.load_state_dict(checkpoint.weights)
    net.eval()
    session = ort.InferenceSession(export_onnx(task_graphs(checkpoint).graphs["color"]).SerializeToString())
    frame, features = torch.randint(0, 256, (1, 64, 136, 3), dtype=torch.uint8), torch.rand(1, 32)
    found = session.run(["ab"], {"frame": frame.numpy(), "global_features": features.numpy()})[0]
    luma = (frame.float() @ torch.tensor([0.114, 0.587, 0.299]) / 255)[:, None]
    with torch.no_grad():
        expected = net.predict_ab(luma, features).permute(0, 2, 3, 1).numpy()
    assert found.shape == (1, 16, 34, 2)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=0)


def test_folded_knobs_change_nothing_but_where_they_are() -> None:
    checkpoint = _checkpoint(0.4, 0.7)
    net = Colorizer(ColorizerOptions(**checkpoint.config["net"])).eval()
    net.load_state_dict(checkpoint.weights)
    folded = fold_knobs(net)
    quarter = torch.rand(1, net.bins.in_channels, 3, 5)
    with torch.no_grad():
        torch.testing.assert_close(
            folded.ab_from_logits(folded.bins(quarter)), net.ab_from_logits(net.bins(quarter)), atol=1e-3, rtol=1e-4
        )
    assert net.options.temperature == 0.4  # the original is left alone


def test_annealed_mean_is_that_of_the_softmax() -> None:
    torch.manual_seed(0)
    logits, centers = 30 * torch.randn(2, 7, 3, 4), torch.randn(7, 2)
    expected = torch.einsum("bqhw,qc->bchw", (logits / 0.5).softmax(1), centers)
    torch.testing.assert_close(annealed_mean(logits, centers, 0.5), expected)
