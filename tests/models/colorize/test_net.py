"""The colorizer's drawing is the paper's, and its parts do what they say."""

from __future__ import annotations

import pytest
import torch
from steadyframe.models.colorize.losses import ColorLoss, bin_centres, look_up, rarity, soft_bins
from steadyframe.models.colorize.net import Colorizer, ColorizerOptions, ab_from_chroma, chroma_from_ab
from torch import nn

EDGE = ColorizerOptions(width=0.25, batch_norm=True, classes=10, bins=121)


@pytest.fixture(scope="module")
def paper() -> Colorizer:
    with torch.device("meta"):
        return Colorizer(ColorizerOptions(classes=205))


def test_paper_layers(paper: Colorizer) -> None:
    """Table of Iizuka et al. 2016: (outputs, stride) of every 3x3 convolution."""

    def table(part: nn.Module) -> list[tuple[int, int]]:
        return [(m.out_channels, m.stride[0]) for m in part.modules() if isinstance(m, nn.Conv2d)]

    assert table(paper.low_level) == [(64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1)]
    assert table(paper.global_convs) == [(512, 2), (512, 1), (512, 2), (512, 1)]
    assert table(paper.mid_level) == [(512, 1), (256, 1)]
    assert table(paper.color1) + table(paper.color2) + table(paper.color3) == [(128, 1), (64, 1), (64, 1), (32, 1)]
    first = paper.fc1[0]
    assert isinstance(first, nn.Linear)
    assert first.weight.numel() == 25_690_112
    assert first.bias.numel() == 1_024
    assert [m.out_features for m in paper.classify.modules() if isinstance(m, nn.Linear)] == [256, 205]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in paper.modules())


def test_shapes() -> None:
    net = Colorizer(EDGE)
    found = net(torch.rand(2, 1, 224, 224))
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "chroma": (2, 2, 112, 112),
        "classes": (2, 10),
        "bins": (2, 121, 56, 56),
    }
    features, _ = net.eval().describe(torch.rand(2, 1, 224, 224))
    assert net.color(torch.rand(2, 1, 96, 72), features).shape == (2, 2, 48, 36)


@pytest.mark.parametrize("noise", [None, "nan", "nah"])
def test_eval_is_deterministic_and_training_with_noise_is_not(noise: str | None) -> None:
    torch.manual_seed(0)
    net = Colorizer(ColorizerOptions(width=0.125, noise=noise))
    with torch.no_grad():
        net.output.bias.fill_(6.0)  # deep in saturation, where the noise lives
    luma = torch.rand(1, 1, 224, 224)
    draws = [net(luma)["chroma"] for _ in range(2)]
    assert torch.equal(*draws) == (noise is None)
    net.eval()
    assert torch.equal(net(luma)["chroma"], net(luma)["chroma"])


def test_fusion_is_one_convolution_over_both() -> None:
    net = Colorizer(ColorizerOptions(width=0.125)).eval()
    low, features = torch.rand(1, 64, 5, 7), torch.rand(1, net.global_features)
    mid = net.mid_level(low)
    both = torch.cat([features[:, :, None, None].expand(-1, -1, 5, 7), mid], dim=1)
    weight = torch.cat([net.fuse_global.weight[:, :, None, None], net.fuse_mid.weight], dim=1)
    expected = torch.sigmoid(nn.functional.conv2d(both, weight, net.fuse_mid.bias))
    torch.testing.assert_close(net._fuse(low, features), expected)


def test_chroma_scale() -> None:
    assert ab_from_chroma(torch.tensor(0.5)) == 0
    ab = torch.tensor([-100.0, -20.0, 0.0, 100.0])
    torch.testing.assert_close(ab_from_chroma(chroma_from_ab(ab)), ab)


def test_soft_bins_and_look_up_agree() -> None:
    torch.manual_seed(0)
    ab = 180 * torch.rand(2, 2, 3, 5) - 90
    bins, table = soft_bins(ab), torch.rand(len(bin_centres()))
    torch.testing.assert_close(bins.sum(1), torch.ones(2, 3, 5))
    centre_of_mass = torch.einsum("bqhw,qc->bchw", bins, bin_centres())
    torch.testing.assert_close(centre_of_mass, ab, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(look_up(table, ab), torch.einsum("bqhw,q->bhw", bins, table), atol=1e-5, rtol=1e-4)


def test_rarity_prefers_rare_colors_and_keeps_the_mean() -> None:
    frequency = torch.tensor([0.9, 0.09, 0.01])
    weights = rarity(frequency, most=100.0)
    assert weights[0] < weights[1] < weights[2]
    assert (weights * frequency).sum().item() == pytest.approx(1.0)
    assert torch.allclose(rarity(frequency, mix=1.0), torch.ones(3))


def test_classification_reaches_shared_layers_but_not_the_color_branch() -> None:
    net = Colorizer(EDGE)
    found = net(torch.rand(2, 1, 224, 224))
    labels = torch.full((2, 10), 0.1)
    ColorLoss()(found, found["chroma"].detach(), labels)["loss"].backward()
    assert net.low_level[0][0].weight.grad.abs().sum() > 0
    assert net.fc2[0].weight.grad.abs().sum() > 0
    assert net.output.weight.grad.abs().sum() == 0
    assert net.mid_level[0][0].weight.grad.abs().sum() == 0
