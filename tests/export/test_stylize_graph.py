"""The exported stylizer: the same images as the trained one, with and without a memory, at any size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from steadyframe.calibration.frames import frames_for
from steadyframe.calibration.int8 import collect_ranges, to_int8
from steadyframe.export.bundle import BundleFacts, export_bundle
from steadyframe.export.parity.compare import Target, compare, compare_all, reference_of
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.stylize.net import StylizeNet, StylizeOptions
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.engines.shape_range import shape_ranges_of
from steadyframe.runtime.engines.tensorrt.plan import build_plan, plan_version
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.frame import Frame


@pytest.fixture(scope="module", params=["batch", "standardized"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    """A stylizer that is not trained, but whose statistics and gate are off their first values."""
    torch.manual_seed(0)
    net = StylizeNet(StylizeOptions(norm=request.param)).train()
    torch.nn.init.normal_(net.head.weight, std=0.2)
    for _ in range(3):
        net(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32))
    return Checkpoint("stylize", {"net": net.options.plain()}, net.state_dict())


@pytest.fixture(scope="module")
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_bundle(checkpoint, tmp_path_factory.mktemp("bundles") / "small", BundleFacts(name="small"))


@pytest.mark.parametrize("size_hw", [(480, 640), (64, 104)])
def test_a_frame_with_a_memory_is_painted_as_in_torch(
    checkpoint: Checkpoint, bundle: Bundle, size_hw: tuple[int, int]
) -> None:
    random = np.random.default_rng(0)
    feeds = {
        name: random.integers(0, 256, (1, *size_hw, channels), dtype=np.uint8)
        for name, channels in (("frame", 3), ("previous", 3), ("mask", 1))
    }
    net = StylizeNet(StylizeOptions(**checkpoint.config["net"])).eval()
    net.load_state_dict(checkpoint.weights)
    with torch.no_grad():
        inputs = [torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255 for array in feeds.values()]
        expected = (net(*inputs) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    found = open_session(bundle, "stylize").run(feeds)["styled"]
    assert found.shape == (1, *size_hw, 3) and found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found != expected).mean() < 1e-3
    assert found.std() > 5


def test_int8_becomes_an_engine_of_tensorrt(bundle: Bundle) -> None:
    """TensorRT takes no constant in int8 but weights: the halves that are subtracted and added stay in float32."""
    pytest.importorskip("tensorrt_rtx", reason="the extra [tensorrt-rtx] is not installed")
    random = np.random.default_rng(0)
    feeds = {
        name: random.integers(0, 256, (1, 480, 640, channels), dtype=np.uint8)
        for name, channels in (("frame", 3), ("previous", 3), ("mask", 1))
    }
    model = onnx.load_from_string(bundle.graph_bytes("stylize", "fp32"))
    int8 = to_int8(model, collect_ranges(model, [feeds], "minmax"))
    made = {name: node.op_type for node in int8.graph.node for name in node.output}
    sums = [node for node in int8.graph.node if node.op_type in ("Add", "Sub")]
    assert any(made.get(name) == "DequantizeLinear" for node in sums for name in node.input)
    plan = build_plan(
        int8.SerializeToString(), shape_ranges_of(bundle.manifest.graphs["stylize"]), library="tensorrt-rtx"
    )
    assert plan_version(plan)


def test_the_whole_path_is_that_of_the_trained_network(
    checkpoint: Checkpoint, bundle: Bundle, data_root: Path
) -> None:
    photos = sorted((data_root / "photos" / "val").glob("osie*"))[:2]
    frames = [Frame(cv2.imread(str(path)), index, 0, path.name) for index, path in enumerate(photos)]
    report = compare(bundle, checkpoint, frames)
    assert report.passed, report.to_json()
    assert report.frames == 4  # an image that stands alone is shown twice, so that there is something to remember
    weights = dict(checkpoint.weights) | {"head.bias": checkpoint.weights["head.bias"] + 0.1}
    wrong = compare(bundle, Checkpoint("stylize", checkpoint.config, weights), frames)
    assert wrong.first_diverging == "stylize.styled"


def test_what_is_remembered_is_compared_too(checkpoint: Checkpoint, bundle: Bundle, data_root: Path) -> None:
    frames = frames_for(bundle.manifest, str(data_root / "videos" / "davis_dog.mp4"), 3)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    right = reference_of(bundle, checkpoint)
    # A network that is not trained makes a lot of one grey level.
    wide = {"stylize.styled": 16, "image": 16}
    (report,) = compare_all(bundle, right, frames[:3], [Target()], tolerances=wide)
    assert report.passed, report.to_json()
    memory = checkpoint.weights["stem.conv.weight"].clone()
    memory[:, 3:6] *= 3  # what comes from the last image, and from nowhere else
    wrong = reference_of(
        bundle, Checkpoint("stylize", checkpoint.config, checkpoint.weights | {"stem.conv.weight": memory})
    )
    (report,) = compare_all(bundle, wrong, frames[:1], [Target()], tolerances=wide)
    assert report.first_diverging == "stylize.styled"
    if checkpoint.config["net"]["norm"] == "batch":  # the other one's weights are standardized over all channels
        assert {stage.failed_at for stage in report.stages if not stage.passed} == {1}  # the first one cannot show it


def test_parity_asks_for_the_painting_itself(checkpoint: Checkpoint, bundle: Bundle) -> None:
    faint = dataclasses.replace(bundle.manifest, settings={"strength": 0.5})
    with pytest.raises(UsageError, match="painting itself"):
        compare(Bundle(bundle.folder, faint), checkpoint, [])
