"""Color bins: what goes in comes out, rare colors count, the annealed mean knows when it is sure."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from steadyframe.models.colorize.bins import (
    annealed_mean,
    bin_centers,
    corner_bins,
    num_bins,
    rarity,
    soft_bins,
)
from steadyframe.models.colorize.losses import ColorLoss
from steadyframe.models.colorize.net import Colorizer, ColorizerOptions
from torch import Tensor


@pytest.fixture(scope="module")
def ab() -> Tensor:
    """Colors that sRGB has, (2, 2, 8, 8)."""
    rgb = np.random.default_rng(0).random((16, 8, 3), dtype=np.float32)
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[..., 1:]
    return torch.from_numpy(np.ascontiguousarray(lab.reshape(2, 8, 8, 2).transpose(0, 3, 1, 2)))


def test_bins_are_those_of_the_gamut() -> None:
    centers = bin_centers()
    assert centers.shape == (num_bins(), 2)
    assert 200 < num_bins() < 361
    known = {tuple(center) for center in centers.tolist()}
    assert (0.0, 0.0) in known
    assert (-90.0, -90.0) not in known  # no display shows that


def test_mean_of_the_soft_bins_is_the_color(ab: Tensor) -> None:
    shares = soft_bins(ab)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 8, 8))
    inside = (ab.abs() < 90).all(1)
    mean = torch.einsum("bqhw,qc->bchw", shares, bin_centers())
    torch.testing.assert_close(mean.movedim(1, -1)[inside], ab.movedim(1, -1)[inside], atol=0.05, rtol=0.01)


def test_corner_bins_say_the_same(ab: Tensor) -> None:
    bins, shares = corner_bins(ab)
    dense = torch.zeros(2, num_bins(), 8, 8).scatter_add_(1, bins, shares)
    torch.testing.assert_close(dense, soft_bins(ab))


def test_rarity_prefers_rare_colors_and_keeps_the_mean() -> None:
    frequency = torch.tensor([0.9, 0.09, 0.01])
    weights = rarity(frequency, most=100.0)
    assert weights[0] < weights[1] < weights[2]
    assert (weights * frequency).sum().item() == pytest.approx(1.0)
    assert torch.allclose(rarity(frequency, mix=1.0), torch.ones(3))
    assert rarity(frequency, most=2.0).max() / rarity(frequency, most=2.0).min() < weights[2] / weights[0]


def test_annealed_mean_sharpens_and_cancels() -> None:
    centers = torch.tensor([[40.0, 0.0], [-40.0, 0.0], [0.0, 60.0]])
    unsure = torch.tensor([1.0, 1.0, -20.0]).view(1, 3, 1, 1)
    assert annealed_mean(unsure, centers, 0.5).abs().max() < 1e-3  # red or green: neutral
    leaning = torch.tensor([2.0, 1.0, -20.0]).view(1, 3, 1, 1)
    plain, sharp = (annealed_mean(leaning, centers, t)[0, 0].item() for t in (1.0, 0.3))
    assert 0 < plain < sharp < 40
    assert plain == pytest.approx(40 * np.tanh(0.5), abs=1e-3)


def test_undoing_the_rebalancing_gives_the_photos_own_frequencies() -> None:
    """A network that knows nothing but the weighted frequencies returns to the plain ones with `undo` 1."""
    frequency = torch.rand(num_bins()).square() + 1e-3
    frequency = frequency / frequency.sum()
    weights = rarity(frequency)
    net = Colorizer(ColorizerOptions(width=0.125, head="distribution", undo=1.0, temperature=1.0))
    net.log_weights.copy_(weights.log())
    found = net.ab_from_logits((frequency * weights).log().view(1, -1, 1, 1))
    torch.testing.assert_close(found[0, :, 0, 0], frequency @ bin_centers(), atol=1e-3, rtol=1e-3)


def _loss(ab: Tensor, logits: Tensor, *, luma: float = 0.5, **options: object) -> float:
    image = torch.full((1, 1, 8, 8), luma)
    return ColorLoss(**options)({"bins": logits}, image, ab.view(1, 2, 1, 1).expand(1, 2, 8, 8), None)["bins"].item()


def test_loss_is_the_cross_entropy_of_the_soft_bins(ab: Tensor) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, num_bins(), 2, 2)
    found = ColorLoss(white_weight=1.0)({"bins": logits}, torch.zeros(2, 1, 8, 8), ab, None)["loss"]
    small = torch.nn.functional.avg_pool2d(ab, 4)
    expected = -(soft_bins(small) * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(found, expected)


def test_loss_weighs_rare_colors_and_white() -> None:
    logits = torch.zeros(1, num_bins(), 2, 2)
    weights = torch.ones(num_bins())
    vivid = bin_centers().norm(dim=1).argmax()
    weights[vivid] = 7.0
    grey, rare = torch.zeros(2), bin_centers()[vivid]
    plain = _loss(grey, logits, weights=weights)
    assert _loss(rare, logits, weights=weights) == pytest.approx(7 * plain, rel=1e-3)
    assert _loss(grey, logits, luma=0.9, white_weight=3.0) == pytest.approx(3 * plain, rel=1e-3)
    assert _loss(rare, logits, luma=0.9, white_weight=3.0) == pytest.approx(plain, rel=1e-3)
