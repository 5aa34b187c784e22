"""Whole images for finding people: real ones, composed ones, and ones with nobody in them.

Owns how a scene is made and what its person maps should say. A composed scene is a photo without people on which up
to four cut-outs are laid, people or, so that a pasted edge proves nothing, pieces of other photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .augment import Cropper, Floats, Look, Pixels, Sample, clipped, disturb, moved, sampled
from .edge import CENTRE_STRIDE
from .people import CONTEXT
from .photos import IGNORED, PEOPLE, Photos
from .targets import to_cells

ELEMENTS = PEOPLE  # boxes of a sample
_LAID = 4  # things laid on a photo at most
BOX_UNIT = 64.0  # pixels of a box side whose logarithm the network calls 0
_AROUND = 1.12  # how much more than the joints' box a cut-out shows: heads and feet reach beyond joints
_NOBODY = 0.3  # share of composed scenes without people
_SMALL, _LARGE = 0.1, 0.86  # sides of people's boxes over the side of the image


@dataclass(slots=True)
class SceneMaker:
    """Makes scenes; one a thread.

    Parameters
    ----------
    cropper : of the people that are laid on photos
    photos : whole ones, with people and without
    cumulated : (N,) running sum of the weights that the photos without people are drawn with, 0 for the others
    """

    cropper: Cropper
    photos: Photos
    cumulated: NDArray[np.float64]

    def compose(self, people: NDArray[np.int64], size: int) -> Sample:
        """Compose a scene, (size, size, 3), of these people, (N,), and other things on a photo without people."""
        rng = self.cropper.rng
        image = self._window(size, size)
        boxes = np.zeros((ELEMENTS, 4), np.float32)
        empty = bool(rng.random() < _NOBODY)
        for slot, person in enumerate(people[:_LAID]):
            if rng.random() > (0.6, 0.35, 0.5, 0.3)[slot]:
                continue
            large, small = (_LARGE, 0.26) if slot < 2 else (0.32, _SMALL)
            side = size * small * (large / small) ** rng.random()
            centre = rng.uniform(0.02, 0.98, 2) * size
            thing = empty or rng.random() < 0.25
            share = rng.uniform(0.3, 1, 2) if thing else self.cropper.people.extent[person] / self.cropper.side
            extent = np.asarray(share * side, np.float64)
            self._lay(image, None if thing else int(person), centre, side, extent * _AROUND)
            behind = (np.abs(boxes[:, :2] - centre) < 0.4 * extent).all(1) & (boxes[:, 2:].max(1) < 1.2 * side)
            boxes[behind] = 0  # whoever is now mostly covered is not asked for
            if not thing:
                boxes[slot] = (*centre, *extent)
        image = disturb(image, self._background(), rng)
        return self._sample(image, boxes, sure=True, empty=empty or not boxes.any())

    def peopled(self, size: int) -> Sample:
        """Show a photo with people, the whole of it or a part."""
        return self._view(int(self.cropper.rng.choice(np.flatnonzero(~self.photos.nobody))), size)

    def empty(self, size: int) -> Sample:
        """Show a photo without people, the whole of it or a part."""
        return self._view(self._draw(), size)

    def _view(self, index: int, size: int) -> Sample:
        """Look at a photo, moved, rotated a little, and often close."""
        rng, photos = self.cropper.rng, self.photos
        left, top, right, bottom = photos.photo_box[index]
        longer = max(right - left, bottom - top)
        if rng.random() < 0.5:  # all of it, as the first look of a stream
            side = longer * float(np.exp(np.clip(rng.normal(0.03, 0.1), -0.15, 0.35)))
            centre = np.array((left + right, top + bottom)) / 2 + rng.normal(0, 0.04, 2) * side
        else:
            side = longer * float(np.exp(rng.uniform(np.log(0.3 if photos.nobody[index] else 0.45), 0)))
            centre = np.array((rng.uniform(left, right), rng.uniform(top, bottom)))
            real = photos.boxes[index, photos.boxes[index, :, 2] > 0]
            if len(real) and rng.random() < 0.7:
                box = real[rng.integers(len(real))]
                centre = box[:2] + rng.uniform(-0.4, 0.4, 2) * side
        look = Look(centre.astype(np.float32), side / size, float(rng.normal(0, 0.06)), bool(rng.random() < 0.5))
        matrix = look.matrix(size)
        boxes, ignored = np.zeros((ELEMENTS, 4), np.float32), np.zeros((IGNORED, 4), np.float32)
        for slot, (x, y, w, h) in enumerate(photos.ignored[index]):
            if w > 0:
                ignored[slot] = (*moved(matrix, np.array([[x, y]], np.float32))[0], w / look.scale, h / look.scale)
        lost = [ignored[ignored[:, 2] > 0]]
        for slot, (x, y, w, h) in enumerate(photos.boxes[index]):
            if w <= 0:
                continue
            at = moved(matrix, np.array([[x, y]], np.float32))[0]
            extent = np.array((w, h), np.float32) / look.scale
            box = clipped(at, extent, (size, size))
            if box[2] * box[3] > 0.35 * w * h / look.scale**2:
                boxes[slot] = box
            else:  # hardly anything of them is to be seen: neither asked for nor forbidden
                lost.append(np.array([[*at, *extent]], np.float32))
        ignored = np.concatenate(lost)
        image = sampled(photos.images[index], matrix, (size, size))
        image = disturb(image, self._background(), rng)
        nobody = bool(photos.nobody[index])
        sample = self._sample(image, boxes, sure=nobody or not photos.crowd[index], empty=nobody)
        sample.ignored = ignored
        return sample

    def _sample(self, image: Pixels, boxes: Floats, *, sure: bool, empty: bool) -> Sample:
        count = len(self.cropper.skeleton.joints)
        none = np.zeros(count, np.float32)
        return Sample(image, np.zeros((count, 2), np.float32), none, none > 0, boxes, sure, empty)

    def _draw(self) -> int:
        """Draw the index of a photo without people."""
        return int(np.searchsorted(self.cumulated, self.cropper.rng.random() * self.cumulated[-1], side="right"))

    def _background(self) -> Pixels:
        """Draw a photo without people, without the grey around it."""
        index = self._draw()
        left, top, right, bottom = (round(float(v)) for v in self.photos.photo_box[index])
        return self.photos.images[index, max(0, top) : bottom, max(0, left) : right]

    def _window(self, width: int, height: int) -> Pixels:
        """Cut a random window out of a photo without people, mirrored now and then."""
        rng, photo = self.cropper.rng, self._background()
        tall, broad = photo.shape[:2]
        share = min(broad / width, tall / height) * float(rng.uniform(0.45, 1))
        w, h = min(broad, max(2, round(share * width))), min(tall, max(2, round(share * height)))
        x, y = int(rng.integers(0, broad - w + 1)), int(rng.integers(0, tall - h + 1))
        piece = photo[y : y + h, x : x + w]
        if rng.random() < 0.5:
            piece = piece[:, ::-1]
        return np.asarray(cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def _lay(
        self, image: Pixels, person: int | None, centre: NDArray[np.float64], side: float, extent: NDArray[np.float64]
    ) -> None:
        """Blend a person, or a piece of a photo, into the image in place."""
        rng, size = self.cropper.rng, len(image)
        half = np.maximum(extent * rng.uniform(1, 1.35) / 2, 4)
        x0, y0 = np.maximum(np.floor(centre - half * 1.1), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(centre + half * 1.1) + 1, size).astype(int)
        if person is None:
            patch = self._window(x1 - x0, y1 - y0)
        else:
            scale = self.cropper.people.crops.shape[1] / CONTEXT / side
            angle = float(np.clip(rng.normal(0, 0.1), -0.2, 0.2))
            look = Look(self.cropper.middle(), scale, angle, bool(rng.random() < 0.5))
            matrix = look.matrix(size, (centre[0] - x0, centre[1] - y0))
            patch = sampled(self.cropper.people.crops[person], matrix, (x1 - x0, y1 - y0))
        power = 3.0 if rng.random() < 0.5 else 8.0
        dx = np.abs((np.arange(x0, x1) - centre[0]) / half[0]) ** power
        dy = np.abs((np.arange(y0, y1) - centre[1]) / half[1]) ** power
        distance = (dx[None] + dy[:, None]) ** (1 / power)
        alpha = np.clip((1 - distance) / rng.uniform(0.03, 0.15) + 0.5, 0, 1).astype(np.float32)[..., None]
        here = image[y0:y1, x0:x1]
        here[:] = (here + (patch.astype(np.float32) - here) * alpha).astype(np.uint8)


def person_targets(
    box: Tensor, sure: Tensor, size: int, ignored: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw what `centre` and `box` should be.

    Parameters
    ----------
    box : (B, K, 4) centre, width and height, width 0 where there is none; sure : (B,) as in `Sample`
    ignored : (B, L, 4) likewise, where nothing is asked for unless a person is there, too

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
    if ignored is not None:
        at, reach = ignored[..., :2], ignored[..., 2:] / 2
        rows = steps * CENTRE_STRIDE + (CENTRE_STRIDE - 1) / 2  # pixels
        across = (rows - at[..., 0:1]).abs() <= reach[..., 0:1]  # (B, L, grid)
        down = (rows - at[..., 1:2]).abs() <= reach[..., 1:2]
        doubtful = (down.unsqueeze(-1) & across.unsqueeze(-2) & (ignored[..., 2] > 0)[..., None, None]).any(1)
        weight = weight & (~doubtful | (heat > 0.3))
    owner_flat = owner.flatten(1)

    def of_owner(values: Tensor) -> Tensor:
        return values.gather(1, owner_flat).view(-1, grid, grid)

    log_side = torch.log(of_owner(side).clamp(8) / BOX_UNIT)
    dx = of_owner(cells[..., 0]) - steps[None, None, :]
    dy = of_owner(cells[..., 1]) - steps[None, :, None]
    return (
        heat[:, None],
        weight[:, None].to(heat.dtype),
        torch.stack((log_side, dx, dy), 1),
        (heat * (heat > 0.3))[:, None],
    )
