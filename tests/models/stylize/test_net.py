"""The network: size, first-frame mode, folding, and that nothing makes it give nonsense."""

from __future__ import annotations

import pytest
import torch
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.stylize.net import NORMS, StylizeNet, StylizeOptions, fold
from steadyframe.models.stylize.train import start_from
from steadyframe.runtime.errors import BundleError
from torch import nn


@torch.enable_grad()
def trained(norm: str = "batch") -> StylizeNet:
    """A network whose statistics and weights are not those of a fresh one."""
    torch.manual_seed(3)
    net = StylizeNet(StylizeOptions(norm=norm)).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(3):
        frame, previous = torch.rand(2, 2, 3, 32, 48)
        loss = (net(frame, previous, torch.ones(2, 1, 32, 48)) - frame.flip(1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


@pytest.mark.parametrize("norm", NORMS)
def test_gives_an_image_of_the_frames_size(norm: str) -> None:
    net = StylizeNet(StylizeOptions(norm=norm)).eval()
    with torch.no_grad():
        styled = net(torch.rand(1, 3, 48, 64), torch.rand(1, 3, 48, 64), torch.ones(1, 1, 48, 64))
    assert styled.shape == (1, 3, 48, 64)
    assert styled.min() >= 0 and styled.max() <= 1


def test_needs_less_than_a_billion_multiplications_at_vga() -> None:
    multiplications = []

    def count(module: nn.Conv2d, _: object, output: torch.Tensor) -> None:
        multiplications.append(output[0].numel() * module.weight[0].numel())

    net = fold(StylizeNet())
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        net(torch.rand(1, 3, 480, 640), torch.rand(1, 3, 480, 640), torch.ones(1, 1, 480, 640))
    assert 0.5e9 < sum(multiplications) < 1e9


@torch.no_grad()
def test_a_mask_of_zeros_hides_the_previous_output() -> None:
    net, frame, nothing = trained(), torch.rand(1, 3, 32, 48), torch.zeros(1, 1, 32, 48)
    first = net(frame, torch.zeros(1, 3, 32, 48), nothing)
    assert torch.equal(first, net(frame, torch.rand(1, 3, 32, 48), nothing))
    assert not torch.allclose(first, net(frame, torch.rand(1, 3, 32, 48), nothing + 1), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("norm", ["batch", "standardized"])
def test_folding_changes_nothing_but_the_normalization(norm: str) -> None:
    net = trained(norm)
    folded = fold(net)
    inputs = torch.rand(1, 3, 32, 48), torch.rand(1, 3, 32, 48), torch.rand(1, 1, 32, 48)
    assert torch.allclose(net(*inputs), folded(*inputs), atol=1e-5)
    left = [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d) or type(m).__name__ == "StandardizedConv2d"]
    assert not left
    assert any(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == (norm == "batch")


@torch.no_grad()
@pytest.mark.parametrize("level", [0.0, 1.0, "noise"])
def test_black_white_and_noise_give_finite_images(level: float | str) -> None:
    frame = torch.rand(1, 3, 64, 64) if level == "noise" else torch.full((1, 3, 64, 64), level)
    for norm in NORMS:
        net = trained(norm)
        styled = net(frame, frame, torch.zeros(1, 1, 64, 64))
        for _ in range(5):
            styled = net(frame, styled, torch.ones(1, 1, 64, 64))
        assert torch.isfinite(styled).all()


def test_a_last_convolution_begins_as_identity_and_old_weights_fit() -> None:
    old, new = trained(), StylizeNet(StylizeOptions(refine=3))
    start_from(new, Checkpoint(task="stylize", config={}, weights=old.state_dict()))
    inputs = torch.rand(1, 3, 32, 48), torch.rand(1, 3, 32, 48), torch.rand(1, 1, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(old(*inputs), new.eval()(*inputs))
        new.refine.weight.add_(0.1)
        assert not torch.allclose(old(*inputs), new(*inputs), atol=1e-3)
        torch.testing.assert_close(fold(new)(*inputs), new(*inputs), atol=1e-5, rtol=0)
    with pytest.raises(BundleError, match="refine"):
        start_from(StylizeNet(), Checkpoint(task="stylize", config={}, weights=new.state_dict()))
    with pytest.raises(BundleError, match="cannot start"):
        start_from(
            StylizeNet(StylizeOptions(quarter=16)), Checkpoint(task="stylize", config={}, weights=old.state_dict())
        )


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="refine is 0, 3 or 5"):
        StylizeOptions(refine=4)

    with pytest.raises(ValueError, match="batch, standardized, instance"):
        StylizeOptions(norm="layer")
