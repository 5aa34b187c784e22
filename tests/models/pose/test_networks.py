"""Geometry and wiring of the networks, against the paper's figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.pose.contrast import LocalContrast
from steadyframe.models.pose.detector import PAD, WINDOW, PaperDetector, PaperOptions
from steadyframe.models.pose.edge import EdgeDetector, EdgeOptions
from steadyframe.models.pose.graph import RANK
from steadyframe.models.pose.messages import LowRankMessages
from steadyframe.models.pose.net import PoseNet, build, deepened
from steadyframe.models.pose.spatial import SpatialModel, SpatialOptions
from steadyframe.models.pose.train import TrainOptions
from steadyframe.runtime.errors import BundleError
from torch.utils.flop_counter import FlopCounterMode


def test_the_papers_detector_has_the_figures_sizes():
    small = PaperDetector(PaperOptions(features=4, window=8, head=4)).eval()
    with torch.no_grad():
        assert small.banks[0].stages(torch.rand(1, 3, 300, 420)).shape[2:] == (68, 98)
        assert small.banks[1].stages(torch.rand(1, 3, 180, 240)).shape[2:] == (38, 53)
        assert small.banks[0](torch.rand(1, 3, 240, 360)).shape[2:] == (60, 90)
        assert small.banks[1](torch.rand(1, 3, 120, 180)).shape[2:] == (30, 45)
        assert small(torch.rand(1, 3, 240, 360))["maps"].shape == (1, 7, 60, 90)


def test_the_papers_detector_has_the_papers_widths():
    net = PaperDetector()
    shapes = [tuple(m.weight.shape) for m in net.banks[0].modules() if isinstance(m, torch.nn.Conv2d)]
    assert shapes == [(128, 3, 5, 5), (128, 128, 5, 5), (128, 128, 5, 5), (512, 128, 9, 9)]
    assert tuple(net.head[0].weight.shape) == (256, 512, 1, 1)


def test_a_cell_of_a_bank_sees_64_pixels_and_the_middle_of_its_own_four():
    torch.manual_seed(0)
    bank = PaperDetector(PaperOptions(features=3, window=2)).banks[0].eval()
    bank.contrast = torch.nn.Identity()  # whose own window would come on top
    image = torch.rand(1, 3, 128, 128, requires_grad=True)
    bank(image)[0, :, 16, 16].sum().backward()
    rows = image.grad.abs().sum((0, 1, 3)).nonzero().ravel()
    assert rows.min() >= 16 * 4 - PAD and rows.max() <= 16 * 4 - PAD + WINDOW - 1


@pytest.mark.parametrize("banks", [1, 2, 3])
def test_every_number_of_banks_gives_maps_at_stride_four(banks):
    paper = PaperDetector(PaperOptions(banks=banks, features=2, window=4, head=4)).eval()
    with torch.no_grad():
        assert paper(torch.rand(1, 3, 64, 96))["maps"].shape == (1, 7, 16, 24)


def test_contrast_is_local_and_flat_regions_stay_flat():
    torch.manual_seed(0)
    contrast = LocalContrast()
    image = torch.rand(1, 3, 64, 64)
    assert torch.allclose(contrast(image), contrast(image * 0.5 + 0.2), atol=1e-3), "light does not matter"
    half = torch.cat((torch.full((1, 3, 64, 32), 0.5), image[..., 32:]), 3)
    out = contrast(half)
    assert out[..., :20].abs().max() < 1e-3 and out[..., 40:].std() > 0.5


@pytest.mark.parametrize("banks", [1, 2])
@pytest.mark.parametrize("noise", [None, "nah"])
def test_the_edge_network_gives_every_output_at_its_stride(banks, noise):
    net = EdgeDetector(EdgeOptions(banks=banks, noise=noise)).eval()
    with torch.no_grad():
        found = net(torch.rand(2, 3, 96, 128))
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    assert shapes == {"maps": (2, 19, 24, 32), "centre": (2, 1, 12, 16), "box": (2, 3, 12, 16), "presence": (2, 1)}


def test_the_edge_network_is_within_its_budget():
    net = PoseNet(EdgeDetector(), SpatialModel())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.detector.eval()(torch.rand(1, 3, 192, 192))
    assert counter.get_total_flops() / 2e9 < 0.6
    factors = LowRankMessages(net.spatial, RANK)  # what is shipped instead of the kernels
    shipped = [*net.detector.parameters(), factors.columns, factors.rows, factors.biases]
    assert sum(tensor.numel() for tensor in shipped) * 4 < 12e6


def test_a_deeper_network_begins_with_what_a_trained_one_finds():
    torch.manual_seed(0)
    small = PoseNet(EdgeDetector(EdgeOptions(fine=16, coarse=(16, 24, 32), depth=(1, 1, 1)))).eval()
    for module in small.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
    checkpoint = Checkpoint(task="pose", config=small.config(), weights=small.state_dict())
    deep = deepened(checkpoint, (2, 3, 1)).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(deep(image)["maps"], small(image)["maps"])
    assert deep.detector.options.depth == (2, 3, 1)
    del checkpoint.weights["detector.head.0.weight"]
    with pytest.raises(BundleError, match="another network"):
        deepened(checkpoint, (2, 3, 1))


def test_a_folded_stem_gives_the_same_features():
    torch.manual_seed(0)
    bank = EdgeDetector().fine.eval()
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        before = bank(image)
        bank.fold()
        assert bank.stem[0].in_channels == 3
        assert torch.allclose(bank(image), before, atol=1e-5)


def test_a_network_is_built_again_from_its_configuration():
    net = PoseNet(EdgeDetector(EdgeOptions(noise="nan", fine=16, coarse=(16, 24, 32))), SpatialModel())
    again = build(net.config())
    again.load_state_dict(net.state_dict())
    assert again.config() == net.config()
    assert build(PoseNet(PaperDetector(PaperOptions(features=4, window=4))).config()).config()["network"] == "paper"
    with pytest.raises(BundleError, match="does not describe"):
        build({"network": "edge", "detector": {"color": 1}, "spatial": None})


# --- the spatial model ----------------------------------------------------------------------------------------------

OFF = -30.0  # SoftPlus of it is nothing
COARSEN = sorted(
    {SpatialOptions().coarsen, TrainOptions.__dataclass_fields__["coarsen"].default}
)  # and what is trained


def silent(joints: int = 2, grid_hw: tuple[int, int] = (20, 24)) -> SpatialModel:
    """The paper's model whose kernels and biases are all zero."""
    model = SpatialModel(SpatialOptions(joints=joints, grid_hw=grid_hw, coarsen=1, tempered=False))
    with torch.no_grad():
        model.kernels.fill_(OFF)
        model.biases.fill_(OFF)
    return model


def test_a_joint_ten_cells_to_the_right_moves_the_mass_ten_cells_to_the_right():
    model = silent()
    with torch.no_grad():
        model.kernels[0, 1, 19 + 3, 23 + 10] = 5.0  # joint 0 lies 10 right of and 3 below joint 1
    maps = torch.zeros(1, 2, 20, 24)
    maps[0, 1, 7, 5] = 1
    told = model.messages(maps)[0, 0, 1].detach()
    assert divmod(int(told.argmax()), 24) == (10, 15)
    assert told.max() == pytest.approx(float(torch.nn.functional.softplus(torch.tensor(5.0))), rel=1e-4)


def test_messages_that_leave_the_map_do_not_wrap_around():
    model = silent()
    with torch.no_grad():
        model.kernels[0, 1, 19, 23 + 15] = 5.0
    maps = torch.zeros(1, 2, 20, 24)
    maps[0, 1, 7, 20] = 1
    assert model.messages(maps)[0, 0, 1].max() < 1e-4


def test_delta_kernels_at_no_displacement_multiply_the_maps():
    model = silent()
    with torch.no_grad():
        model.kernels[:, :, 19, 23] = float(np.log(np.expm1(1.0)))  # SoftPlus gives 1
    maps = torch.rand(1, 2, 20, 24) * 0.9 + 0.1
    expected = maps.prod(1, keepdim=True).expand(-1, 2, -1, -1)
    assert torch.allclose(model(maps), expected, atol=1e-4)


@pytest.mark.parametrize("coarsen", COARSEN)
def test_a_joint_alone_is_overruled_by_the_others(coarsen):
    """Two candidates for joint 0; only one lies where joints 1 and 2 say."""
    torch.manual_seed(0)
    cells = torch.rand(400, 3, 2) * 6 + 20
    cells[:, 1] = cells[:, 0] + torch.tensor([8.0, 0.0])
    cells[:, 2] = cells[:, 0] + torch.tensor([0.0, 8.0])
    model = SpatialModel(SpatialOptions(joints=3, coarsen=coarsen))
    from steadyframe.models.pose.targets import decode, gaussians

    targets = gaussians(cells, (48, 48))
    model.start_from(cells, torch.ones(400, 3, dtype=torch.bool), targets[:64])
    maps = targets[:1].clone()
    wrong = cells[:1, 0] + torch.tensor([-14.0, -12.0])
    maps[0, 0] = 0.6 * maps[0, 0] + 0.8 * gaussians(wrong[:, None], (48, 48))[0, 0]
    alone, _ = decode(maps)
    together, _ = decode(model(maps))
    assert (alone[0, 0] - wrong[0]).abs().max() < 1
    assert (together[0, 0] - cells[0, 0]).abs().max() < 1


@pytest.mark.parametrize("coarsen", COARSEN)
def test_histograms_start_the_kernels_and_the_truth_scores_about_one(coarsen):
    torch.manual_seed(0)
    cells = torch.rand(300, 3, 2) * 20 + 12
    cells[:, 1] = cells[:, 0] + torch.randn(300, 2)
    from steadyframe.models.pose.targets import gaussians

    model = SpatialModel(SpatialOptions(joints=3, coarsen=coarsen))
    middle = 48 // coarsen - 1
    model.start_from(cells, torch.ones(300, 3, dtype=torch.bool), gaussians(cells, (48, 48))[:64])
    kernel = model.positive(model.kernels.detach())[1, 0]
    assert divmod(int(kernel.argmax()), kernel.shape[1])[0] in (middle - 1, middle, middle + 1), (
        "joint 1 lies on joint 0"
    )
    told = model.messages(torch.nn.functional.avg_pool2d(gaussians(cells[:64], (48, 48)), coarsen)).detach()
    near = (cells[:64] / coarsen).round().long()
    at_truth = told[torch.arange(64), 1, 0, near[:, 1, 1], near[:, 1, 0]]
    assert 0.7 < at_truth.mean() < 1.3


@pytest.mark.parametrize("coarsen", COARSEN)
def test_the_spatial_model_learns(coarsen):
    torch.manual_seed(0)
    model = SpatialModel(SpatialOptions(joints=3, coarsen=coarsen))
    maps = torch.rand(4, 3, 48, 48)
    model(maps).sum().backward()
    assert model.kernels.grad is not None and model.kernels.grad.abs().sum() > 0
    assert model.biases.grad is not None and model.trust.grad is not None and model.trust.grad.abs().sum() > 0


def test_a_model_that_is_told_the_torso_finds_whom_is_meant():
    """Two people look alike; only the torso says which of them is asked for."""
    torch.manual_seed(0)
    names = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "nose")
    body = torch.tensor([[-3.0, -4.0], [3.0, -4.0], [-2.0, 4.0], [2.0, 4.0], [0.0, -9.0]])
    cells = body + torch.rand(300, 1, 2) * 24 + 12
    shown = torch.ones(300, 5, dtype=torch.bool)
    from steadyframe.models.pose.targets import decode, gaussians, torso_cells, torso_maps

    model = SpatialModel(SpatialOptions(joints=5, coarsen=2, torso=True, tempered=False))
    middle, known = torso_cells(cells, shown, names)
    maps = gaussians(cells, (48, 48))
    told = torso_maps(cells, shown, names, (48, 48))
    assert told.shape == (300, 1, 48, 48) and known.all()
    model.start_from(torch.cat((cells, middle), 1), torch.cat((shown, known), 1), torch.cat((maps, told), 1)[:64])
    near, far = torch.tensor([[[14.0, 24.0]]]), torch.tensor([[[34.0, 24.0]]])
    both = torch.maximum(gaussians(body + near, (48, 48)), 1.1 * gaussians(body + far, (48, 48)))
    for place in (near, far):
        torso = torso_maps(body + place, shown[:1], names, (48, 48))
        found, _ = decode(model(both, torso))
        assert (found - (body + place)).abs().max() < 2
    unmarked = shown[:1].clone()
    unmarked[0, 2] = False
    assert torso_maps(body + near, unmarked, names, (48, 48)).sum() == 0
    assert model(both).shape == both.shape, "where nobody says who is meant, it answers as well"
