"""The colorizer's drawing is the paper's, and its parts do what they say."""

from __future__ import annotations

import pytest
import torch
from steadyframe.models.colorize.bins import num_bins
from steadyframe.models.colorize.losses import ColorLoss
from steadyframe.models.colorize.net import Colorizer, ColorizerOptions, ab_from_chroma, chroma_from_ab
from steadyframe.runtime.errors import UsageError
from torch import Tensor, nn

SHIPPED = ColorizerOptions(width=0.25, batch_norm=True, classes=10, fusion="relu", head="distribution")
PAPER_CONVS = {
    "low_level": [(64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1)],
    "global_convs": [(512, 2), (512, 1), (512, 2), (512, 1)],
    "mid_level": [(512, 1), (256, 1)],
    "color1": [(128, 1)],
    "color2": [(64, 1), (64, 1)],
    "color3": [(32, 1)],
}


@pytest.fixture(scope="module")
def paper() -> Colorizer:
    with torch.device("meta"):
        return Colorizer(ColorizerOptions(classes=205))


def _kinds(part: nn.Module) -> list[str]:
    return [type(module).__name__ for module in part.modules() if not list(module.children())]


@pytest.mark.parametrize("name", PAPER_CONVS)
def test_paper_convolutions(paper: Colorizer, name: str) -> None:
    """Iizuka et al. 2016, table 1: outputs, stride, 3x3 kernels, one pixel of padding, ReLU after each, no norm."""
    part = getattr(paper, name)
    convs = [module for module in part.modules() if isinstance(module, nn.Conv2d)]
    assert [(conv.out_channels, conv.stride[0]) for conv in convs] == PAPER_CONVS[name]
    for conv in convs:
        assert (conv.kernel_size, conv.padding, conv.dilation) == ((3, 3), (1, 1), (1, 1))
        assert (conv.groups, conv.bias is not None, conv.padding_mode) == (1, True, "zeros")
    assert _kinds(part) == ["Conv2d", "ReLU"] * len(convs)


def test_paper_heads(paper: Colorizer) -> None:
    first = paper.fc1[0]
    assert isinstance(first, nn.Linear)
    assert (first.weight.numel(), first.bias.numel()) == (25_690_112, 1_024)
    for part, outputs in ((paper.fc1, 1024), (paper.fc2, 512), (paper.fc3, 256)):
        assert (part[0].out_features, _kinds(part)) == (outputs, ["Linear", "ReLU"])
    assert [m.out_features for m in paper.classify.modules() if isinstance(m, nn.Linear)] == [256, 205]
    assert _kinds(paper.classify) == ["Linear", "ReLU", "Linear"]
    assert (paper.fuse_mid.kernel_size, paper.fuse_mid.out_channels) == ((1, 1), 256)
    assert isinstance(paper.fuse_activation, nn.Sigmoid)
    assert (paper.output.kernel_size, paper.output.padding, paper.output.out_channels) == ((3, 3), (1, 1), 2)
    assert isinstance(paper.output_activation, nn.Sigmoid)
    assert paper.upsample.mode == "nearest"


def test_color_branch_runs_in_the_order_of_the_paper() -> None:
    """One layer, twice the size, two layers, twice the size, one layer, output: by what each layer is given."""
    net = Colorizer(ColorizerOptions(width=0.125)).eval()
    sides = {}
    parts = {"color1": net.color1, "first": net.color2[0], "second": net.color2[1], "color3": net.color3,
             "output": net.output}  # fmt: skip
    for name, part in parts.items():
        part.register_forward_hook(lambda _, inputs, __, name=name: sides.update({name: inputs[0].shape[-1]}))
    net(torch.rand(1, 1, 224, 224))
    assert sides == {"color1": 28, "first": 56, "second": 56, "color3": 112, "output": 112}


def test_outputs_of_the_paper() -> None:
    net = Colorizer(ColorizerOptions(width=0.125))
    found = net(torch.rand(2, 1, 224, 224))
    assert {name: tuple(value.shape) for name, value in found.items()} == {"chroma": (2, 2, 112, 112)}
    features, _ = net.eval().describe(torch.rand(2, 1, 224, 224))
    assert net.predict_ab(torch.rand(2, 1, 96, 72), features).shape == (2, 2, 48, 36)


def test_outputs_of_the_distribution() -> None:
    net = Colorizer(SHIPPED)
    found = net(torch.rand(2, 1, 224, 224))
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    assert shapes == {"classes": (2, 10), "bins": (2, num_bins(), 56, 56)}
    features, _ = net.eval().describe(torch.rand(2, 1, 224, 224))
    assert net.predict_ab(torch.rand(2, 1, 96, 72), features).shape == (2, 2, 24, 18)
    assert isinstance(net.fuse_activation, nn.ReLU)


def test_wide_color_branch_leaves_the_rest_alone() -> None:
    plain, wide = (Colorizer(ColorizerOptions(width=0.25, color_width=w, head="distribution")) for w in (None, 0.5))
    assert wide.low_level[5][0].weight.shape == plain.low_level[5][0].weight.shape
    assert wide.color2[1][0].out_channels == 2 * plain.color2[1][0].out_channels == 32
    assert wide.global_features == plain.global_features == 64


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


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="no head 'median'"):
        ColorizerOptions(head="median")
    with pytest.raises(UsageError, match="no fusion 'tanh'"):
        ColorizerOptions(fusion="tanh")
    with pytest.raises(UsageError, match="saturates"):
        ColorizerOptions(noise="nah", fusion="relu", head="distribution")
    ColorizerOptions(noise="nah", fusion="sigmoid", head="distribution")


@pytest.mark.parametrize(("fusion", "function"), [("sigmoid", torch.sigmoid), ("relu", torch.relu)])
def test_fusion_is_one_convolution_over_both(fusion: str, function: object) -> None:
    net = Colorizer(ColorizerOptions(width=0.125, fusion=fusion)).eval()
    low, features = torch.rand(1, 64, 5, 7), torch.rand(1, net.global_features)
    mid = net.mid_level(low)
    both = torch.cat([features[:, :, None, None].expand(-1, -1, 5, 7), mid], dim=1)
    weight = torch.cat([net.fuse_global.weight[:, :, None, None], net.fuse_mid.weight], dim=1)
    expected = function(nn.functional.conv2d(both, weight, net.fuse_mid.bias))
    torch.testing.assert_close(net._fuse(low, features), expected)


def test_global_features_reach_the_color() -> None:
    net = Colorizer(SHIPPED).eval()
    luma, features = torch.rand(1, 1, 64, 64), torch.rand(2, 1, net.global_features)
    first, second = (net.predict_ab(luma, f) for f in features)
    assert (first - second).abs().max() > 1e-4


def test_chroma_scale() -> None:
    assert ab_from_chroma(torch.tensor(0.5)) == 0
    ab = torch.tensor([-100.0, -20.0, 0.0, 100.0])
    torch.testing.assert_close(ab_from_chroma(chroma_from_ab(ab)), ab)


@pytest.mark.parametrize("options", [SHIPPED, ColorizerOptions(width=0.25, batch_norm=True, classes=10)])
def test_classification_reaches_shared_layers_but_not_the_color_branch(options: ColorizerOptions) -> None:
    net = Colorizer(options)
    found = net(torch.rand(2, 1, 224, 224))
    labels = torch.full((2, 10), 0.1)
    loss = ColorLoss()(found, torch.rand(2, 1, 224, 224), torch.zeros(2, 2, 224, 224), labels)
    loss["classes"].backward()

    def touched(part: nn.Module) -> Tensor:
        return sum(p.grad.abs().sum() for p in part.parameters() if p.grad is not None) + torch.zeros(())

    assert touched(net.low_level) > 0
    assert touched(net.fc2) > 0
    assert touched(net.mid_level) == touched(net.color2) == 0
