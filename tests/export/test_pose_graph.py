"""The exported pose network: factored kernels, decoding and people in the graph, the same as the trained network."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from steadyframe.export.bundle import BundleFacts, export_bundle
from steadyframe.export.parity.compare import compare
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.pose.edge import EdgeDetector, EdgeOptions
from steadyframe.models.pose.graph import CANDIDATES, find_people, of_checkpoint
from steadyframe.models.pose.messages import FourierMessages, LowRankMessages
from steadyframe.models.pose.net import PoseNet
from steadyframe.models.pose.scenes import BOX_UNIT
from steadyframe.models.pose.skeleton import SKELETONS
from steadyframe.models.pose.spatial import SpatialModel, SpatialOptions
from steadyframe.models.pose.targets import decode, gaussians
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.errors import BundleError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import open_processor

JOINTS = SKELETONS["union-19"].joints
SIZE = 64


def spatial(grid: int = 16) -> SpatialModel:
    """A spatial model that has seen bodies: joints at their places, a little scattered."""
    torch.manual_seed(0)
    body = torch.rand(len(JOINTS), 2) * 8 + 4
    cells = body + torch.randn(200, 1, 2) + 0.6 * torch.randn(200, len(JOINTS), 2)
    model = SpatialModel(SpatialOptions(grid_hw=(grid, grid)))
    maps = gaussians(cells, (grid, grid))[:32]
    model.start_from(cells, torch.ones(200, len(JOINTS), dtype=torch.bool), maps)
    return model.eval()


@pytest.fixture(scope="module", params=[None, 4], ids=["spectra", "rank 4"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    """A small network, not trained, whose heads say something and whose statistics are off their first values."""
    torch.manual_seed(0)
    net = PoseNet(EdgeDetector(EdgeOptions(fine=8, coarse=(12, 16, 24), noise="nah")), spatial()).train()
    for head in (net.detector.maps, net.detector.centre, net.detector.box):
        torch.nn.init.normal_(head.weight, std=0.3)
    torch.nn.init.zeros_(net.detector.centre.bias)
    for _ in range(3):
        net(torch.rand(2, 3, SIZE, SIZE))
    config = net.config() | {"joints": list(JOINTS), "size": SIZE, "calibration": [2.0, 1.0], "rank": request.param}
    return Checkpoint("pose", config, net.state_dict())


@pytest.fixture(scope="module")
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    facts = BundleFacts(name="small", settings={"find_score": 0.0, "birth_presence": 0.0, "keep_presence": 0.0})
    return export_bundle(checkpoint, tmp_path_factory.mktemp("bundles") / "small", facts)


def test_spectra_give_the_very_messages_and_higher_ranks_come_nearer():
    model = spatial()
    maps = torch.rand(1, len(JOINTS), 8, 8)
    with torch.no_grad():
        exact = model.messages(maps)
        assert torch.allclose(FourierMessages(model)(maps), exact, atol=1e-5 * float(exact.max()))
        low = [LowRankMessages(model, rank) for rank in (1, 2, 4, 15)]
        errors = [float((factored(maps) - exact).abs().max() / exact.max()) for factored in low]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-4
    assert [factored.lost for factored in low] == sorted((factored.lost for factored in low), reverse=True)


def test_the_factors_are_smaller_than_the_kernels():
    model = spatial(48)
    factors = LowRankMessages(model, 4)
    numbers = factors.columns.numel() + factors.rows.numel()
    assert numbers < 0.2 * model.kernels.numel()


def test_people_are_the_peaks_of_the_centre_map_with_their_boxes():
    centre = torch.full((1, 1, 8, 8), -6.0)
    box = torch.zeros(1, 3, 8, 8)
    centre[0, 0, 2, 3], centre[0, 0, 6, 6] = 1.0, 3.0
    centre[0, 0, 6, 5] = 2.9  # no peak: its neighbour is higher
    box[0, :, 2, 3] = torch.tensor([0.5, 0.25, -0.5])
    found = find_people(centre, box)[0]
    assert found.shape == (CANDIDATES, 4)
    assert found[0].tolist() == pytest.approx([6 * 8 + 3.5, 6 * 8 + 3.5, BOX_UNIT, 0.9526], abs=1e-3)
    assert found[1].tolist() == pytest.approx(
        [3.25 * 8 + 3.5, 1.5 * 8 + 3.5, BOX_UNIT * np.exp(0.5), 0.7311], abs=1e-3
    )
    assert (found[2:, 3] < 0.01).all()


def test_the_graph_gives_what_torch_gives(checkpoint: Checkpoint, bundle: Bundle) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    found = open_session(bundle, "pose").run({"frame": frame})
    with torch.no_grad():
        image = torch.from_numpy(frame).permute(0, 3, 1, 2).float() / 255
        keypoints, presence, people, maps = of_checkpoint(checkpoint)(image)
    assert np.abs(found["maps"] - maps.numpy()).max() < 1e-4 * float(maps.abs().max())
    assert np.abs(found["keypoints"] - keypoints.numpy()).max() < 1e-2
    assert np.abs(found["presence"] - presence.numpy()).max() < 1e-4
    assert np.abs(found["people"] - people.numpy()).max() < 1e-2
    _, peaks = decode(torch.from_numpy(found["maps"]))
    scores = 1 / (1 + np.exp(-(2 * np.log(np.maximum(peaks.numpy(), 1e-4)) + 1)))
    assert np.abs(found["keypoints"][..., 2] - scores).max() < 1e-4


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_a_batch_gives_what_its_images_give_one_by_one(bundle: Bundle, device: str) -> None:
    if device == "openvino":
        pytest.importorskip("openvino")
    frames = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    with contextlib.closing(open_session(bundle, "pose", device=device)) as session:
        together = session.run({"frame": frames})
        for i in range(3):
            for name, alone in session.run({"frame": frames[i : i + 1]}).items():
                assert np.abs(together[name][i : i + 1] - alone).max() < 1e-3 * max(
                    1.0, float(np.abs(alone).max())
                ), name


def test_the_graph_is_plain_enough_for_every_engine(bundle: Bundle) -> None:
    import onnx

    model = onnx.load_from_string(bundle.graph_bytes("pose", "fp32"))
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"DFT", "Loop", "If", "NonZero", "BatchNormalization", "RandomNormalLike"}, kinds
    assert "MatMul" in kinds and bundle.manifest.skeleton is not None
    assert bundle.manifest.skeleton.joints == JOINTS


def test_the_whole_path_is_that_of_the_trained_network(
    checkpoint: Checkpoint, bundle: Bundle, data_root: Path
) -> None:
    photos = sorted((data_root / "photos" / "val").glob("osie*"))[:2]
    frames = [Frame(cv2.imread(str(path)), index, 0, path.name) for index, path in enumerate(photos)]
    exact = Checkpoint("pose", checkpoint.config | {"rank": None}, checkpoint.weights)
    if checkpoint.config["rank"] is None:
        report = compare(bundle, exact, frames)
        assert report.passed, report.to_json()
    weights = dict(checkpoint.weights) | {"detector.maps.bias": checkpoint.weights["detector.maps.bias"] + 0.2}
    wrong = compare(bundle, Checkpoint("pose", checkpoint.config, weights), frames)
    assert wrong.first_diverging in ("pose.maps", "pose.frame")


def test_the_bundle_opens_as_a_task(bundle: Bundle) -> None:
    with open_processor(bundle) as processor:
        (result,) = processor.process(Frame(np.zeros((120, 160, 3), np.uint8)))
    assert result.output.skeleton.joints == JOINTS


def test_the_papers_network_is_no_bundle():
    config = {
        "network": "paper",
        "detector": {"features": 2, "window": 2},
        "spatial": None,
        "joints": list(JOINTS),
        "size": 64,
    }
    with pytest.raises(BundleError, match="Only the edge network"):
        of_checkpoint(Checkpoint("pose", config, {}))


def test_the_same_frame_gives_the_same_result(bundle: Bundle) -> None:
    session = onnxruntime.InferenceSession(bundle.graph_bytes("pose", "fp32"), providers=["CPUExecutionProvider"])
    frame = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    first, second = (session.run(None, {"frame": frame}) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True)), "deterministic"
