"""The losses: their values on cases that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from steadyframe.models.stylize.losses import (
    amount_loss,
    detail_loss,
    feature_distance,
    gram,
    high_pass,
    style_distance,
    temporal_loss,
    total_variation,
    weave_loss,
)


def test_gram_counts_how_channels_go_together() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # (1, 2, 1, 2)
    assert torch.allclose(gram(features), torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 4)


def test_gram_knows_nothing_of_places() -> None:
    torch.manual_seed(0)
    features = torch.rand(1, 4, 6, 6)
    shuffled = features.flatten(2)[..., torch.randperm(36)].view(1, 4, 6, 6)
    assert torch.allclose(gram(features), gram(shuffled), atol=1e-6)


def test_relative_distances_do_not_depend_on_the_scale() -> None:
    torch.manual_seed(0)
    one, other = torch.rand(2, 4, 6, 6), torch.rand(2, 4, 6, 6)
    plain = style_distance({"a": gram(one)}, {"a": gram(other)})
    scaled = style_distance({"a": gram(10 * one)}, {"a": gram(10 * other)})
    assert torch.allclose(plain, scaled)
    assert style_distance({"a": gram(one)}, {"a": gram(one)}) == 0
    assert feature_distance({"a": 2 * other}, {"a": other}, ["a"]).item() == pytest.approx(1.0)


def test_temporal_loss_counts_masked_pixels_in_its_denominator() -> None:
    image, warped = torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert temporal_loss(image, warped, mask).item() == pytest.approx(0.25)


def test_total_variation_of_a_step() -> None:
    image = torch.zeros(1, 1, 2, 2)
    image[..., 1] = 1
    assert total_variation(image).item() == pytest.approx(1.0)


def test_detail_is_compared_edge_by_edge_only_where_motion_is_not_trusted() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 32)
    moved = image.roll(2, -1)  # the same strokes, beside the teacher's
    nowhere, everywhere = torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)
    assert detail_loss(image, image, nowhere) == 0
    assert detail_loss(moved, image, nowhere) > 0.1
    assert detail_loss(moved, image, everywhere) == 0


def test_amount_knows_how_much_there_is_and_not_where() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 64, 64)
    moved, blurred, pale = image.roll(2, -1), image - high_pass(image), 0.5 + 0.7 * (image - 0.5)
    assert amount_loss(image, image) == 0
    for wrong in (blurred, pale):
        assert amount_loss(wrong, image) > 3 * amount_loss(moved, image)
    bands = torch.sin(torch.arange(64) / 5.0).expand(1, 3, 64, 64)  # 31 pixels: what a 5x5 mean leaves nothing of
    assert amount_loss(0.3 * bands, 0.15 * bands) > 3 * amount_loss(0.3 * bands, 0.3 * bands.roll(8, -1))


def test_high_pass_knows_no_brightness() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(high_pass(image), high_pass(image + 0.3))
    assert high_pass(torch.full((1, 3, 16, 16), 0.4)).abs().max() < 1e-6


def test_weave_is_what_repeats_every_four_pixels() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64)
    pattern = torch.zeros(1, 1, 64, 64)
    pattern[..., ::4, :] = 0.1
    woven = weave_loss(image + pattern, image)
    assert woven.item() == pytest.approx(0.01 * 0.25 * 0.75, rel=1e-4)
    assert weave_loss(image + 0.1, image) < 1e-10  # brighter is no weave
    unlike = weave_loss(image + 0.1 * torch.randn(1, 3, 64, 64), image)
    assert unlike < 0.15 * woven
