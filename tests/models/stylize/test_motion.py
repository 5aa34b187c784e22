"""Synthetic motion: the flow and the mask are those of the images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from steadyframe.models.stylize.motion import MotionOptions, add_noise, erode, joined, synthesize, warp
from steadyframe.runtime.motion.flow import Flow, positions, sample


def smooth_photos(batch: int, side: int = 96) -> torch.Tensor:
    """Images without fine detail, so that resampling them costs little."""
    torch.manual_seed(0)
    coarse = torch.rand(batch, 3, 8, 8)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True).clamp(0, 1)


def test_warp_shifts_by_whole_pixels() -> None:
    image = torch.rand(1, 3, 16, 24)
    flow = torch.zeros(1, 2, 16, 24)
    flow[:, 0], flow[:, 1] = 3, -2
    warped = warp(image, flow)
    assert torch.allclose(warped[..., 2:, :-3], image[..., :-2, 3:], atol=1e-5)


@pytest.mark.parametrize("cubic", [False, True])
def test_warp_samples_as_the_runtime_does(cubic: bool) -> None:
    torch.manual_seed(0)
    image, flow = torch.rand(1, 3, 24, 32), 9 * torch.rand(1, 2, 24, 32) - 4.5
    flow = (flow * 32).round() / 32  # of a pixel: OpenCV's steps
    at = positions(Flow(flow[0].permute(1, 2, 0).contiguous().numpy()))
    expected = sample(image[0].permute(1, 2, 0).contiguous().numpy(), at, cubic=cubic)
    warped = warp(image, flow, cubic=cubic)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(warped, expected, atol=2e-4)


def test_joined_flows_lead_from_the_last_frame_to_the_first() -> None:
    torch.manual_seed(1)
    clip = synthesize(smooth_photos(6), 5, 64, MotionOptions(still=0.0, sprites=1.0, shift_px=4.0))
    flow, mask = joined(clip)
    off = (warp(clip.frames[0], flow, cubic=True) - clip.frames[-1]).abs()
    trusted = (off * mask).sum() / (3 * mask.sum())
    unmoved = ((clip.frames[0] - clip.frames[-1]).abs() * mask).sum() / (3 * mask.sum())
    assert mask.mean() > 0.3 and (mask <= clip.masks[-1]).all()
    assert trusted < 0.015 and trusted < 0.3 * unmoved


def test_the_flow_leads_to_the_same_content_wherever_the_mask_says_so() -> None:
    torch.manual_seed(1)
    clip = synthesize(smooth_photos(6), 4, 64, MotionOptions(still=0.0, sprites=1.0))
    assert clip.frames.shape == (4, 6, 3, 64, 64)
    assert clip.flows.shape == (3, 6, 2, 64, 64) and clip.masks.shape == (3, 6, 1, 64, 64)
    for t in range(3):
        off = (warp(clip.frames[t], clip.flows[t]) - clip.frames[t + 1]).abs()
        mask = clip.masks[t]
        trusted = (off * mask).sum() / (3 * mask.sum())
        rest = (off * (1 - mask)).sum() / (3 * (1 - mask).sum())
        assert trusted < 0.01
        assert rest > 3 * trusted
    assert 0.5 < clip.masks.mean() < 1
    assert clip.flows.abs().max() > 2


def test_a_camera_on_a_desk_does_not_move() -> None:
    clip = synthesize(smooth_photos(2), 3, 32, MotionOptions(still=1.0, sprites=0.0))
    assert torch.allclose(clip.frames[0], clip.frames[2], atol=1e-5)
    assert clip.flows.abs().max() < 1e-3


def test_noise_is_anew_in_every_frame_and_keeps_the_range() -> None:
    torch.manual_seed(0)
    frames = torch.full((3, 4, 3, 16, 16), 0.5)
    noisy = add_noise(frames, gain=0.0)
    assert noisy.min() >= 0 and noisy.max() <= 1
    assert 0 < (noisy[0] - noisy[1]).std() < 16 / 255
    assert torch.equal(frames, torch.full((3, 4, 3, 16, 16), 0.5))


def test_erosion_takes_three_pixels_from_every_edge() -> None:
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 5:15, 5:15] = 1
    expected = torch.zeros(1, 1, 20, 20)
    expected[..., 8:12, 8:12] = 1
    assert torch.equal(erode(mask, 7), expected)
