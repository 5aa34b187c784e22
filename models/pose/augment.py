"""Random crops of people, drawn and disturbed in batches on the training device.

Owns geometry (scale, rotation, shift, mirror, the cut at the waist) and disturbance (light, grey, blur, noise, coarse
pixels, patches in front). Works on whatever device its tensors live on, so that a GPU never waits for the host.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...runtime.image import OUTSIDE
from ...runtime.manifest import Skeleton
from .people import CONTEXT, People

BOX_MARGIN = 1.25  # side of a crop over the side of the person's box, in training and at run time
_UPPER = ("nose", "shoulder", "elbow", "wrist", "hip", "head_top")


@dataclass(slots=True)
class Crops:
    """A batch for the network.

    Parameters
    ----------
    image : (B, 3, S, S) float32 RGB in [0, 1]
    joints : (B, J, 2) in pixels of the crop
    weight : (B, J), trust in each joint's map; where a joint is outside, the map is zero and the weight still counts
    shown : (B, J) bool, the joint is marked and inside the crop
    box : (B, 4) centre x, y, width and height of the person's box, pixels of the crop
    """

    image: Tensor
    joints: Tensor
    weight: Tensor
    shown: Tensor
    box: Tensor


def warp_squares(squares: Tensor, matrix: Tensor, size: int) -> Tensor:
    """Sample (B, S, S, 3) uint8 BGR squares under output-to-input matrices (B, 2, 3), in pixels.

    Returns
    -------
    (B, 3, size, size) float32 RGB in [0, 1]; mid-grey outside the square
    """
    source = squares.shape[1]
    image = squares.permute(0, 3, 1, 2).float().sub_(OUTSIDE)
    steps = torch.arange(size, device=squares.device, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    here = torch.stack((x, y, torch.ones_like(x)), -1)  # (size, size, 3)
    there = torch.einsum("bij,hwj->bhwi", matrix, here)
    grid = (there + 0.5) * (2 / source) - 1  # grid_sample without corners aligned counts pixel edges
    sampled = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled.add_(OUTSIDE).div_(255).flip(1)


def similarity(centre: Tensor, angle: Tensor, scale: Tensor, mirror: Tensor, size: int) -> Tensor:
    """Build output-to-input matrices (B, 2, 3): `centre` (B, 2) of the input comes to the middle of the output.

    Parameters
    ----------
    angle : (B,) radians
    scale : (B,) input pixels an output pixel
    mirror : (B,) 1 or -1
    """
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    linear = torch.stack((torch.stack((cos * mirror, -sin), -1), torch.stack((sin * mirror, cos), -1)), -2)
    middle = torch.full((2,), (size - 1) / 2, device=centre.device)
    return torch.cat((linear, (centre - linear @ middle).unsqueeze(-1)), -1)


def inverse_points(matrix: Tensor, points: Tensor) -> Tensor:
    """Bring points (B, J, 2) of the input into the output of `matrix` (B, 2, 3)."""
    (a, b), (c, d) = matrix[:, 0, :2].unbind(-1), matrix[:, 1, :2].unbind(-1)
    # in closed form: linalg.inv would make the host wait for the device
    back = torch.stack((torch.stack((d, -b), -1), torch.stack((-c, a), -1)), -2) / (a * d - b * c)[:, None, None]
    return torch.einsum("bij,bkj->bki", back, points - matrix[:, None, :, 2])


class PeopleOnDevice:
    """Squares and labels of `People` as tensors, indexable in batches."""

    def __init__(self, people: People, skeleton: Skeleton, device: str) -> None:
        self.squares = _resident(people, device)
        self.joints = torch.from_numpy(people.joints).to(device)
        self.known = torch.from_numpy(people.known).to(device)
        self.absent = torch.from_numpy(people.absent).to(device)
        self.extent = torch.from_numpy(people.extent).to(device)
        self.size = people.squares.shape[1]
        self.device = device
        self.mirror = torch.tensor(skeleton.mirror, device=device)
        self.upper = torch.tensor([any(part in name for part in _UPPER) for name in skeleton.joints], device=device)

    def take(self, index: Tensor) -> Tensor:
        """Give squares (B, S, S, 3) uint8 on the device."""
        if self.squares.device.type == "cpu" and index.device.type != "cpu":
            return self.squares[index.cpu()].to(self.device)
        return self.squares[index]


def _resident(people: People, device: str) -> Tensor:
    """Move all squares to a GPU once; on a CPU they stay mapped to the file."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="The given NumPy array is not writable"
        )  # nothing here writes to it
        squares = torch.from_numpy(people.squares)
    return squares.to(device) if device != "cpu" else squares


def plain_crops(people: PeopleOnDevice, index: Tensor, size: int) -> Crops:
    """Cut box x 1.25 crops without any change, for validation."""
    count = len(index)
    centre = torch.full((count, 2), (people.size - 1) / 2, device=people.device)
    scale = torch.full((count,), people.size / CONTEXT * BOX_MARGIN / size, device=people.device)
    ones = torch.ones(count, device=people.device)
    matrix = similarity(centre, torch.zeros_like(ones), scale, ones, size)
    return _crops(people, index, matrix, ones, size)


def random_crops(people: PeopleOnDevice, index: Tensor, size: int, wild: Tensor) -> Crops:
    """Cut crops as a tracker and a careless camera would.

    Parameters
    ----------
    index : (B,) people to draw
    wild : (B,) bool, rotate these far and now and then upside down; the others stay about upright
    """
    count, device = len(index), people.device

    def normal(spread: float) -> Tensor:
        return torch.randn(count, device=device) * spread

    def chance(probability: float) -> Tensor:
        return torch.rand(count, device=device) < probability

    mirror = torch.where(chance(0.5), 1.0, -1.0)
    angle = torch.where(wild, normal(0.45), normal(0.2) * chance(0.6)).clamp(-0.9, 0.9)
    angle = angle + torch.pi * (wild & chance(0.1)) + torch.pi / 2 * (chance(0.02) * torch.where(chance(0.5), 1, -1))
    box_side = people.size / CONTEXT
    centre = torch.full((count, 2), (people.size - 1) / 2, device=device)
    side = torch.full((count,), box_side, device=device)
    half = chance(0.3)
    centre, side, half = _upper_boxes(people, index, centre, side, half)
    side = side * BOX_MARGIN * torch.exp(normal(0.18).clamp(-0.4, 0.45))
    centre = centre + side[:, None] * torch.stack((normal(0.06), normal(0.06)), -1).clamp(-0.14, 0.14)
    matrix = similarity(centre, angle, side / size, mirror, size)
    crops = _crops(people, index, matrix, mirror, size)
    _cut_below(crops, people, index, matrix, half & chance(0.6))
    crops.image = disturb(crops.image)
    return crops


def _upper_boxes(
    people: PeopleOnDevice, index: Tensor, centre: Tensor, side: Tensor, half: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """For those chosen by `half`, put the crop around the upper body, if enough of it is marked."""
    joints, known = people.joints[index], (people.known[index] > 0) & people.upper
    low = torch.where(known[..., None], joints, torch.inf).amin(1)
    high = torch.where(known[..., None], joints, -torch.inf).amax(1)
    upper_side = (high - low).amax(-1)
    half = half & (known.sum(1) >= 5) & (upper_side > 0.25 * side)
    centre = torch.where(half[:, None], (low + high) / 2, centre)
    return centre, torch.where(half, upper_side, side), half


def _crops(people: PeopleOnDevice, index: Tensor, matrix: Tensor, mirror: Tensor, size: int) -> Crops:
    """Sample the pictures and bring the labels along; a mirrored person's left joints are right ones."""
    image = warp_squares(people.take(index), matrix, size)
    joints = inverse_points(matrix, people.joints[index])
    known, absent = people.known[index], people.absent[index]
    mirrored = (mirror < 0)[:, None]
    joints = torch.where(mirrored[..., None], joints[:, people.mirror], joints)
    known = torch.where(mirrored, known[:, people.mirror], known)
    absent = torch.where(mirrored, absent[:, people.mirror], absent)
    inside = ((joints >= 0) & (joints <= size - 1)).all(-1)
    scale = torch.linalg.vector_norm(matrix[:, :, 0], dim=-1)
    box = torch.cat(
        (inverse_points(matrix, torch.full((len(index), 1, 2), (people.size - 1) / 2, device=people.device))[:, 0],
         people.extent[index] / scale[:, None]), -1,
    )  # fmt: skip
    return Crops(image, joints, torch.where(absent, 0.5, known), (known > 0) & inside, box)


def _cut_below(crops: Crops, people: PeopleOnDevice, index: Tensor, matrix: Tensor, chosen: Tensor) -> None:
    """End the picture just below the hips of those chosen: what a webcam shows of a person at a desk."""
    size = crops.image.shape[-1]
    hips = torch.where(
        (people.upper & (people.known[index] > 0))[..., None],
        inverse_points(matrix, people.joints[index]),
        -torch.inf,
    ).amax(1)[:, 1]
    line = hips + size * (torch.rand(len(index), device=hips.device) * 0.2 - 0.08)
    line = torch.where(chosen, line, torch.inf)
    rows = torch.arange(size, device=hips.device)
    below = rows[None, :] > line[:, None]  # (B, S)
    crops.image = torch.where(below[:, None, :, None], OUTSIDE / 255, crops.image)
    crops.shown = crops.shown & (crops.joints[..., 1] <= line[:, None])


def disturb(image: Tensor) -> Tensor:
    """Change light and colour, blur, coarsen, add noise and put patches in front, each now and then."""
    count, _, size, _ = image.shape
    device = image.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *(shape or (1, 1, 1)), device=device) * (high - low) + low

    def chance(probability: float) -> Tensor:
        return torch.rand(count, 1, 1, 1, device=device) < probability

    image = _patches(image)
    soft = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    softer = F.avg_pool2d(F.pad(soft, (2, 2, 2, 2), mode="replicate"), 5, 1)
    image = torch.where(chance(0.15), soft, torch.where(chance(0.07), softer, image))
    coarse = F.interpolate(F.avg_pool2d(image, 3), size=(size, size), mode="bilinear", align_corners=False)
    image = torch.where(chance(0.1), coarse, image)
    grey = (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    image = torch.lerp(grey, image, torch.where(chance(0.12), 0.0, uniform(0.5, 1.4)))
    image = image * torch.where(chance(0.5), uniform(0.8, 1.25, 3, 1, 1), 1.0)
    mean = image.mean((1, 2, 3), keepdim=True)
    image = (image - mean) * uniform(0.6, 1.4) + mean * uniform(0.55, 1.4)
    image = image.clamp(0, 1) ** torch.where(chance(0.4), uniform(0.6, 1.6), 1.0)
    noise = torch.randn_like(image) * uniform(0.0, 0.05) * chance(0.4)
    return (image + noise).clamp(0, 1)


def _patches(image: Tensor) -> Tensor:
    """Cover up to two rectangles of two in five pictures with parts of another picture, or one colour."""
    count, _, size, _ = image.shape
    device = image.device
    steps = torch.arange(size, device=device)
    other = torch.roll(image, 1, 0)
    for _ in range(2):
        middle = torch.rand(count, 2, device=device) * size
        reach = (torch.rand(count, 2, device=device) * 0.16 + 0.04) * size
        reach = torch.where(torch.rand(count, 1, device=device) < 0.25, reach, 0.0)
        inside = (steps[None, :, None] - middle[:, None, :]).abs() < reach[:, None, :]  # (B, S, 2)
        cover = (inside[:, :, 1].unsqueeze(2) & inside[:, :, 0].unsqueeze(1)).unsqueeze(1)
        flat = torch.rand(count, 3, 1, 1, device=device)
        plain = torch.rand(count, 1, 1, 1, device=device) < 0.4
        image = torch.where(cover, torch.where(plain, flat, other), image)
    return image
