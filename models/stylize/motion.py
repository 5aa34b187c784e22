"""Camera motion made from still photos, with the flow and the mask that come with it exactly.

Owns the torch warp and the synthetic sequences. Real clips are in `clips`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

MASK_ERODE = 7  # width of the minimum filter on masks (Ruder et al. 2018, released training code)


@dataclass(frozen=True, slots=True)
class Sequence:
    """T frames of B clips, and how each frame looks back at the one before.

    Parameters
    ----------
    frames : (T, B, 3, H, W) BGR in [0, 1]
    flows : (T - 1, B, 2, H, W) backward flow in pixels, x then y: frame t + 1 -> frame t
    masks : (T - 1, B, 1, H, W), 1 where the flow may be trusted
    """

    frames: Tensor
    flows: Tensor
    masks: Tensor


def warp(image: Tensor, flow: Tensor, *, cubic: bool = False) -> Tensor:
    """Sample (B, C, H, W) where a backward flow (B, 2, H, W) in pixels points; the border repeats outside.

    With cubic weights as in the runtime (OpenCV's, of slope -0.75), or bilinear ones.
    """
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=image.device), torch.arange(width, device=image.device), indexing="ij"
    )
    flow = flow.float()
    across = (x + flow[:, 0]) * (2 / (width - 1)) - 1
    down = (y + flow[:, 1]) * (2 / (height - 1)) - 1
    grid = torch.stack((across, down), -1)
    mode = "bicubic" if cubic else "bilinear"
    return F.grid_sample(image.float(), grid, mode=mode, padding_mode="border", align_corners=True)


def joined(clip: Sequence) -> tuple[Tensor, Tensor]:
    """Join the flows and masks of all frames: the path from the last frame back to the first.

    Returns
    -------
    (B, 2, H, W) flow in pixels, and (B, 1, H, W) mask, 1 where every step may be trusted
    """
    flow, mask = clip.flows[0].float(), clip.masks[0]
    for late, trusted in zip(clip.flows[1:], clip.masks[1:], strict=True):
        flow, mask = late + warp(flow, late), torch.minimum(trusted, warp(mask, late))
    return flow, mask


def erode(mask: Tensor, width: int = MASK_ERODE) -> Tensor:
    """Minimum filter of (B, 1, H, W)."""
    return 1 - F.max_pool2d(1 - mask, width, 1, width // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionOptions:
    """How far synthetic cameras move between two frames.

    Parameters
    ----------
    shift_px : largest shift a frame
    zoom : largest relative change of scale a frame
    turn : largest turn a frame, radians
    still : share of sequences whose camera does not move (a webcam on a desk)
    sprites : share of sequences with an object cut from another photo that moves on its own
    """

    shift_px: float = 16.0
    zoom: float = 0.03
    turn: float = 0.02
    still: float = 0.35
    sprites: float = 0.5


@dataclass(frozen=True, slots=True)
class _Path:
    """Similarity transforms, view pixels (from the center) -> photo pixels (from its center), for every frame."""

    scale: Tensor  # (T, B)
    angle: Tensor  # (T, B)
    center: Tensor  # (T, B, 2) in photo pixels

    def matrix(self, t: int) -> Tensor:
        cos, sin = torch.cos(self.angle[t]) * self.scale[t], torch.sin(self.angle[t]) * self.scale[t]
        return torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)  # (B, 2, 2)

    def to_photo(self, t: int, view: Tensor) -> Tensor:
        """(B, H, W, 2) or (H, W, 2) view coordinates -> photo coordinates."""
        view = view.expand(self.scale.shape[1], *view.shape[-3:])
        return torch.einsum("bij,bhwj->bhwi", self.matrix(t), view) + self.center[t][:, None, None]

    def to_view(self, t: int, photo: Tensor) -> Tensor:
        # A similarity's inverse is its transpose over the squared scale (torch's own inverse would stall a GPU).
        inverse = self.matrix(t) / self.scale[t].square()[:, None, None]
        return torch.einsum("bji,bhwj->bhwi", inverse, photo - self.center[t][:, None, None])


def synthesize(photos: Tensor, length: int, size: int, options: MotionOptions | None = None) -> Sequence:
    """Move cameras over still photos.

    Photos are mirrored at their edges without end, so that the flow stays exact wherever the camera goes.

    Parameters
    ----------
    photos : (B, 3, S, S) BGR in [0, 1]
    length : frames
    size : side of the frames in pixels, a multiple of 8

    References
    ----------
    The shifts and zooms of Ruder et al. 2018 (released training code); turns and sprites are ours.
    """
    options = options or MotionOptions()
    batch, device = photos.shape[0], photos.device
    side = photos.shape[-1]
    axis = torch.arange(size, device=device) - (size - 1) / 2
    view = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)  # (H, W, 2): x, y
    back = _random_path(length, batch, side, size, options, device)
    front = _random_path(length, batch, side, size, options, device)
    front_photos = photos.roll(1, 0)
    blob = _random_blob(batch, size, options, device)
    frames, flows, masks = [], [], []
    covered_before: Tensor | None = None
    for t in range(length):
        back_at, front_at = back.to_photo(t, view), front.to_photo(t, view)
        covered = _inside_blob(front_at, blob, front.center[0])  # (B, H, W)
        image = torch.where(covered[:, None], _look(front_photos, front_at), _look(photos, back_at))
        frames.append(image)
        if covered_before is not None:
            # Where was this point one frame ago? Follow the plane that is visible here.
            then = torch.where(covered[..., None], front.to_view(t - 1, front_at), back.to_view(t - 1, back_at))
            flow = (then - view).permute(0, 3, 1, 2)
            inside = (then.abs() <= (size - 1) / 2).all(-1)
            was = warp(covered_before[:, None].float(), flow)[:, 0]
            same_plane = torch.where(covered, was > 0.99, was < 0.01)
            flows.append(flow)
            masks.append(erode((inside & same_plane)[:, None].float()))
        covered_before = covered
    return Sequence(torch.stack(frames), torch.stack(flows), torch.stack(masks))


def _random_path(
    length: int, batch: int, side: int, size: int, options: MotionOptions, device: torch.device
) -> _Path:
    """Draw steady drifts with a little jitter; their speeds are spread evenly over powers of two."""

    def signed(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device) * 2 - 1

    moves = (torch.rand(batch, device=device) >= options.still).float()
    speed = moves * torch.exp2(-5 * torch.rand(batch, device=device))  # 1/32 to 1 of the largest
    steps = torch.arange(length, device=device)[:, None]
    jitter = 0.15 * speed * signed(length, batch)
    start = torch.exp2(-torch.rand(batch, device=device)) * side / size  # magnifies up to two times
    scale = start * (1 + options.zoom * signed(batch)) ** (speed * (steps + jitter))
    angle = 0.2 * signed(batch) + options.turn * speed * signed(batch) * (steps + jitter)
    heading = signed(batch) * pi
    reach = options.shift_px * speed * start * (steps + jitter)  # (T, B) photo pixels
    center = torch.stack((torch.cos(heading) * reach, torch.sin(heading) * reach), -1)
    return _Path(scale, angle, center + signed(batch, 2) * side / 4)


def _random_blob(batch: int, size: int, options: MotionOptions, device: torch.device) -> Tensor:
    """Radii of an ellipse in photo pixels, (B, 2); zero where the sequence has no sprite."""
    there = (torch.rand(batch, 1, device=device) < options.sprites).float()
    return there * size * (0.08 + 0.22 * torch.rand(batch, 2, device=device))


def _inside_blob(photo_at: Tensor, radii: Tensor, center: Tensor) -> Tensor:
    """Whether (B, H, W, 2) photo coordinates lie in the sprite, which is fixed to its photo."""
    off = (photo_at - center[:, None, None]) / radii[:, None, None].clamp_min(1e-3)
    return off.square().sum(-1) < 1


def _look(photos: Tensor, photo_at: Tensor) -> Tensor:
    """Sample (B, 3, S, S) photos at (B, H, W, 2) coordinates from their center."""
    grid = photo_at * (2 / (photos.shape[-1] - 1))
    return F.grid_sample(photos, grid, mode="bilinear", padding_mode="reflection", align_corners=True)


def add_noise(frames: Tensor, *, largest: float = 8 / 255, gain: float = 0.01) -> Tensor:
    """Add what a webcam adds to every frame anew: Gaussian noise of a strength per clip, and a little exposure drift.

    Parameters
    ----------
    frames : (T, B, 3, H, W) in [0, 1]
    largest : strongest standard deviation of the noise
    gain : standard deviation of the exposure's relative change
    """
    length, batch = frames.shape[:2]
    sigma = largest * torch.rand(1, batch, 1, 1, 1, device=frames.device).square()
    exposure = 1 + gain * torch.randn(length, batch, 1, 1, 1, device=frames.device)
    grain = torch.randn_like(frames[0])  # dear to draw; moved at random, it is as good as new
    moves = torch.randint(max(frames.shape[-2:]), (length, 2)).tolist()
    grains = torch.stack([grain.roll(move, (-2, -1)) for move in moves])
    return (frames * exposure + sigma * grains).clamp(0, 1)
