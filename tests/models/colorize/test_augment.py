"""What a training step sees is the photo, and its colors are OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from steadyframe.models.colorize.augment import ab_of, luma_of, random_crops, vary_luma
from steadyframe.runtime.image import luma


@pytest.fixture
def rgb() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((2, 3, 16, 24), dtype=np.float32))


def test_colors_are_those_of_opencv(rgb: torch.Tensor) -> None:
    lab = cv2.cvtColor(rgb[0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2LAB)
    np.testing.assert_allclose(ab_of(rgb)[0].permute(1, 2, 0).numpy(), lab[..., 1:], atol=0.7)  # OpenCV's is a table
    assert ab_of(torch.full((1, 3, 2, 2), 0.4)).abs().max() < 0.01


def test_luma_is_that_of_the_runtime() -> None:
    bgr = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    tensor = torch.from_numpy(bgr[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    np.testing.assert_allclose(255 * luma_of(tensor)[0, 0].numpy(), luma(bgr), atol=0.51)


def test_crops_are_parts_of_the_photo_some_of_them_mirrored() -> None:
    torch.manual_seed(0)
    across, down = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 96), indexing="xy")
    photo = torch.stack([across, down, torch.zeros_like(across)])[None].expand(64, -1, -1, -1)
    crops = random_crops(photo, 48)
    assert crops.shape == (64, 3, 48, 48)
    slope_x = (crops[:, 0, :, -3] - crops[:, 0, :, 2]).mean(1)  # share of the photo's width
    slope_y = (crops[:, 1, -3] - crops[:, 1, 2]).mean(1)
    assert 16 < int((slope_x < 0).sum()) < 48
    assert bool((slope_y > 0).all())
    area = (slope_x.abs() * slope_y) * (47 / 43) ** 2
    assert 0.3 < area.min() < 0.45
    assert 0.85 < area.max() < 1.05
    assert crops[:, 2].abs().max() == 0


def test_luma_varies_from_photo_to_photo_and_stays_in_range() -> None:
    torch.manual_seed(0)
    flat = torch.full((32, 1, 8, 8), 0.5)
    varied = vary_luma(flat)
    assert varied.min() >= 0 and varied.max() <= 1
    assert varied.mean((1, 2, 3)).std() > 0.03
    assert torch.equal(flat, torch.full((32, 1, 8, 8), 0.5))
