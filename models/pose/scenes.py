"""Whole pictures for finding people: real ones, composed ones, and ones with nobody in them.

Owns how a scene is made and what its person maps should say. A composed scene is a photo without people on which up
to four cut-outs are laid, people or, so that a pasted edge proves nothing, pieces of other photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .augment import PeopleOnDevice, disturb, inverse_points, similarity, warp_squares
from .edge import CENTRE_STRIDE
from .people import CONTEXT
from .targets import to_cells

ELEMENTS = 4
BOX_UNIT = 64.0  # pixels of a box side whose logarithm the network calls 0
_AROUND = 1.12  # how much more than the joints' box a cut-out shows: heads and feet reach beyond joints


@dataclass(slots=True)
class Scenes:
    """Pictures and the boxes in them.

    Parameters
    ----------
    image : (B, 3, S, S) float32 RGB in [0, 1]
    box : (B, K, 4) centre x, y, width, height in pixels; width 0 where there is none
    sure : (B,) bool, everybody in the picture is in `box`
    empty : (B,) bool, nobody is there for certain
    """

    image: Tensor
    box: Tensor
    sure: Tensor
    empty: Tensor


def compose(
    people: PeopleOnDevice, index: Tensor, backgrounds: Tensor, small: tuple[Tensor, Tensor], size: int
) -> Scenes:
    """Lay people and other things on photos without people.

    Parameters
    ----------
    index : (B, ELEMENTS) people to draw from
    backgrounds : (N, S, S, 3) uint8 BGR, nobody in them
    small : the people's squares at a half and a quarter of their size, so that small people are not jagged
    """
    count, device = len(index), people.device
    pick = torch.randint(len(backgrounds), (2, count), device=device)
    image = _window(backgrounds[pick[0]], size)
    things = backgrounds[pick[1]]
    boxes = torch.zeros(count, ELEMENTS, 4, device=device)
    empty = torch.rand(count, device=device) < 0.3
    for slot in range(ELEMENTS):
        level = small[0] if slot < 2 else small[1]
        low, high = (50.0, 165.0) if slot < 2 else (20.0, 60.0)
        side = low * (high / low) ** torch.rand(count, device=device)
        present = torch.rand(count, device=device) < (0.6 if slot in (0, 2) else 0.35)
        thing = empty | (torch.rand(count, device=device) < 0.25)
        chosen = index[:, slot]
        extent = people.extent[chosen] * (CONTEXT / people.size)  # longer side 1
        extent = torch.where(thing[:, None], torch.rand(count, 2, device=device) * 0.7 + 0.3, extent)
        centre = torch.rand(count, 2, device=device) * (size * 0.96) + size * 0.02
        patch = _element(level, chosen, things, thing, centre, side, size)
        alpha = _mask(centre, extent * side[:, None] * _AROUND, size) * present[:, None, None, None]
        image = torch.lerp(image, patch, alpha)
        real = present & ~thing
        boxes[:, slot] = torch.where(real[:, None], torch.cat((centre, extent * side[:, None]), -1), 0.0)
        if slot:  # whoever is now mostly behind this one is not asked for
            covered = ((boxes[:, :slot, :2] - centre[:, None]).abs() < 0.4 * (extent * side[:, None])[:, None]).all(
                -1
            )
            gone = covered & (boxes[:, :slot, 2:].amax(-1) < 1.2 * side[:, None]) & present[:, None]
            boxes[:, :slot] = torch.where(gone[..., None], 0.0, boxes[:, :slot])
    sure = torch.ones(count, dtype=torch.bool, device=device)
    return Scenes(disturb(image), boxes, sure, empty)


def whole(frames: PeopleOnDevice, index: Tensor, sure: Tensor, size: int) -> Scenes:
    """Show real pictures, letterboxed and a little moved: `frames` hold whole pictures and one box each."""
    count, device = len(index), frames.device
    mirror = torch.where(torch.rand(count, device=device) < 0.5, 1.0, -1.0)
    scale = frames.size / size * torch.exp(torch.randn(count, device=device).mul(0.2).clamp(-0.5, 0.4))
    centre = (frames.size - 1) / 2 + torch.randn(count, 2, device=device).clamp(-2, 2) * 0.08 * frames.size
    angle = torch.randn(count, device=device).clamp(-2, 2) * 0.07
    matrix = similarity(centre, angle, scale, mirror, size)
    image = warp_squares(frames.take(index), matrix, size)
    middle = frames.joints[index][:, :1]  # frames keep the box's centre as their only joint
    box = torch.cat((inverse_points(matrix, middle), (frames.extent[index] / scale[:, None])[:, None]), -1)
    empty = torch.zeros(count, dtype=torch.bool, device=device)
    return Scenes(disturb(image), box, sure[index], empty)


def person_targets(box: Tensor, sure: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw what `centre` and `box` should be.

    Parameters
    ----------
    box : (B, K, 4); sure : (B,) as in `Scenes`

    Returns
    -------
    heat : (B, 1, h, w), 1 in the cell of a centre, falling around it
    heat_weight : (B, 1, h, w), 0 where nobody knows
    value : (B, 3, h, w) of `EdgeDetector`'s `box`
    value_weight : (B, 1, h, w)
    """
    grid = size // CENTRE_STRIDE
    cells = to_cells(box[..., :2], CENTRE_STRIDE)  # (B, K, 2)
    side = box[..., 2:].amax(-1)
    real = (side > 8) & ((cells > -0.5) & (cells < grid - 0.5)).all(-1)
    spread = (side / CENTRE_STRIDE * 0.09).clamp(0.7, 2.0)
    steps = torch.arange(grid, device=box.device, dtype=box.dtype)
    near = cells.round()
    gx = -((steps - near[..., 0:1]) ** 2) / (2 * spread[..., None] ** 2)  # (B, K, grid)
    gy = -((steps - near[..., 1:2]) ** 2) / (2 * spread[..., None] ** 2)
    bump = torch.exp(gy.unsqueeze(-1) + gx.unsqueeze(-2)) * real[..., None, None]  # (B, K, grid, grid)
    heat, owner = bump.max(1)
    half = box[..., 2:] / (2 * CENTRE_STRIDE) * 1.1
    inside = ((steps - cells[..., 0:1]).abs() <= half[..., 0:1]).unsqueeze(-2) & (
        (steps - cells[..., 1:2]).abs() <= half[..., 1:2]
    ).unsqueeze(-1)
    weight = sure[:, None, None] | (inside & real[..., None, None]).any(1)
    owner_flat = owner.flatten(1)

    def of_owner(values: Tensor) -> Tensor:
        return values.gather(1, owner_flat).view(-1, grid, grid)

    value = torch.stack(
        (torch.log(of_owner(side).clamp(8) / BOX_UNIT),
         of_owner(cells[..., 0]) - steps[None, None, :], of_owner(cells[..., 1]) - steps[None, :, None]), 1,
    )  # fmt: skip
    return heat[:, None], weight[:, None].to(heat.dtype), value, (heat * (heat > 0.3))[:, None]


def _window(squares: Tensor, size: int) -> Tensor:
    """Random windows of (B, S, S, 3) squares."""
    count, source = len(squares), squares.shape[1]
    device = squares.device
    side = source * (0.45 + 0.55 * torch.rand(count, device=device))
    centre = side[:, None] / 2 + torch.rand(count, 2, device=device) * (source - side)[:, None]
    mirror = torch.where(torch.rand(count, device=device) < 0.5, 1.0, -1.0)
    angle = torch.zeros(count, device=device)
    return warp_squares(squares, similarity(centre, angle, side / size, mirror, size), size)


def _element(
    level: Tensor, chosen: Tensor, things: Tensor, thing: Tensor, centre: Tensor, side: Tensor, size: int
) -> Tensor:
    """Draw a person so that their box has `side` and its middle `centre`; or a piece of a photo there."""
    count, device = len(chosen), centre.device
    mirror = torch.where(torch.rand(count, device=device) < 0.5, 1.0, -1.0)
    angle = torch.randn(count, device=device).clamp(-2, 2) * 0.1
    source = level.shape[1]
    scale = source / CONTEXT / side
    matrix = similarity(torch.full((count, 2), (source - 1) / 2, device=device), angle, scale, mirror, size)
    middle = (size - 1) / 2
    shift = torch.einsum("bij,bj->bi", matrix[:, :, :2], middle - centre)
    matrix = torch.cat((matrix[:, :, :2], (matrix[:, :, 2] + shift).unsqueeze(-1)), -1)
    person = warp_squares(level[chosen], matrix, size)
    return torch.where(thing[:, None, None, None], torch.roll(_window(things, size), 1, 0), person)


def _mask(centre: Tensor, extent: Tensor, size: int) -> Tensor:
    """Draw rounded rectangles with a soft border, (B, 1, size, size) in [0, 1]; some tight, some with air around."""
    count, device = len(centre), centre.device
    air = 1 + 0.35 * torch.rand(count, 1, device=device)
    half = (extent * air / 2).clamp(min=4)
    steps = torch.arange(size, device=device, dtype=centre.dtype)
    dx = ((steps[None] - centre[:, 0:1]) / half[:, 0:1]).abs()
    dy = ((steps[None] - centre[:, 1:2]) / half[:, 1:2]).abs()
    power = torch.where(torch.rand(count, 1, device=device) < 0.5, 3.0, 8.0)
    distance = ((dx**power)[:, None, :] + (dy**power)[:, :, None]) ** (1 / power[:, :, None])
    soft = 0.03 + 0.12 * torch.rand(count, 1, 1, device=device)
    return ((1 - distance) / soft + 0.5).clamp(0, 1)[:, None]


def smaller(squares: Tensor, factor: int, device: str, chunk: int = 256) -> Tensor:
    """Shrink (N, S, S, 3) uint8 squares by a whole factor, averaging, and leave them on `device`."""
    parts = []
    for part in squares.split(chunk):
        pooled = F.avg_pool2d(part.to(device).permute(0, 3, 1, 2).float(), factor)
        parts.append(pooled.round().to(torch.uint8).permute(0, 2, 3, 1))
    return torch.cat(parts)
