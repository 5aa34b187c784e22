"""The exported stylizer: the same pictures as the trained one, with and without a memory, at any size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from steadyframe.export.bundle import BundleFacts, export_bundle
from steadyframe.export.parity import compare
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.stylize.net import StylizeNet, StylizeOptions
from steadyframe.runtime.bundle import Bundle
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.session import open_session


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


def test_the_whole_path_is_that_of_the_trained_network(
    checkpoint: Checkpoint, bundle: Bundle, data_root: Path
) -> None:
    photos = sorted((data_root / "photos" / "val").glob("osie*"))[:2]
    frames = [Frame(cv2.imread(str(path)), index, 0, path.name) for index, path in enumerate(photos)]
    report = compare(bundle, checkpoint, frames)
    assert report.passed, report.to_json()
    weights = dict(checkpoint.weights) | {"head.bias": checkpoint.weights["head.bias"] + 0.1}
    wrong = compare(bundle, Checkpoint("stylize", checkpoint.config, weights), frames)
    assert wrong.first_diverging == "stylize.styled"


def test_parity_asks_for_the_painting_itself(checkpoint: Checkpoint, tmp_path: Path) -> None:
    faint = export_bundle(checkpoint, tmp_path / "faint", BundleFacts(name="faint", settings={"strength": 0.5}))
    with pytest.raises(UsageError, match="painting itself"):
        compare(faint, checkpoint, [])
