"""Random crops of people: where a tracker may have put them, and what a careless camera makes of them.

Owns geometry (scale, rotation, shift, mirror, the cut at the waist) and disturbance (light, grey, blur, noise, coarse
pixels, patches in front), one image at a time with OpenCV; `batches` runs it in threads beside the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ...runtime.bundle.manifest import Skeleton
from ...runtime.image import OUTSIDE
from .people import CONTEXT, People

BOX_MARGIN = 1.25  # side of a crop over the side of the person's box, in training and at run time
_UPPER = ("nose", "shoulder", "elbow", "wrist", "hip", "head_top")
_CHEST = ("nose", "shoulder", "elbow", "head_top", "neck")
_HEAD = ("nose", "eye", "ear", "head_top", "neck", "shoulder")
_SHRINK_FROM = 1.75  # stored pixels a crop pixel beyond which plain sampling would be jagged

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(slots=True)
class Sample:
    """One image for the network.

    Parameters
    ----------
    image : (S, S, 3) uint8 BGR
    joints : (J, 2) in pixels of the crop
    weight : (J,), trust in each joint's map; where a joint is outside, the map is empty and the weight still counts
    shown : (J,) bool, the joint is marked and inside the crop
    boxes : (K, 4) centre x, y, width and height of people, pixels of the crop; width 0 where there is none
    sure : everybody in the image is in `boxes`
    empty : nobody is there for certain
    ignored : (L, 4) likewise, places where somebody may be
    """

    image: Pixels
    joints: Floats
    weight: Floats
    shown: NDArray[np.bool_]
    boxes: Floats
    sure: bool = False
    empty: bool = False
    ignored: Floats = field(default_factory=lambda: np.zeros((0, 4), np.float32))


@dataclass(frozen=True, slots=True)
class Look:
    """A view of a stored crop: its point `centre` comes to the middle of the crop.

    Parameters
    ----------
    centre : (2,) pixels of the stored crop
    scale : stored pixels a crop pixel
    angle : radians; mirror : whether left and right are exchanged
    """

    centre: Floats
    scale: float
    angle: float = 0.0
    mirror: bool = False

    def matrix(self, size: int, at: tuple[float, float] | None = None) -> NDArray[np.float64]:
        """Give the (2, 3) matrix from stored pixels to crop pixels; `at` is another place than the middle."""
        cos, sin = np.cos(self.angle) / self.scale, np.sin(self.angle) / self.scale
        flip = -1.0 if self.mirror else 1.0
        linear = np.array([[flip * cos, flip * sin], [-sin, cos]])
        middle = np.array(at) if at is not None else np.full(2, (size - 1) / 2)
        return np.column_stack((linear, middle - linear @ self.centre))


def moved(matrix: NDArray[np.float64], points: Floats) -> Floats:
    """Bring (N, 2) points through a (2, 3) matrix."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def sampled(image: Pixels, matrix: NDArray[np.float64], size_wh: tuple[int, int]) -> Pixels:
    """Warp an image by a (2, 3) matrix; it is averaged first where it shrinks much, and grey outside."""
    scale = 1 / np.hypot(matrix[0, 0], matrix[1, 0])
    factor = 1
    while scale / factor > _SHRINK_FROM:
        factor *= 2
    if factor > 1:
        side = max(1, image.shape[0] // factor)
        image = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        middle = (factor - 1) / 2  # the first small pixel's middle, in large pixels
        matrix = np.column_stack((matrix[:, :2] * factor, matrix[:, 2] + matrix[:, :2].sum(1) * middle))
    border = (OUTSIDE, OUTSIDE, OUTSIDE)
    return np.asarray(cv2.warpAffine(image, matrix, size_wh, flags=cv2.INTER_LINEAR, borderValue=border), np.uint8)


@dataclass(slots=True)
class Cropper:
    """Makes samples from people; one a thread, since it owns a random generator."""

    people: People
    skeleton: Skeleton
    rng: np.random.Generator
    backgrounds: Pixels | None = None
    neighbours: float = 0.12  # share of random crops with a second person at the rim
    upper: NDArray[np.bool_] = field(init=False)
    chest: NDArray[np.bool_] = field(init=False)
    head: NDArray[np.bool_] = field(init=False)
    side: float = field(init=False)

    def __post_init__(self) -> None:
        joints = self.skeleton.joints
        self.upper = np.array([any(part in name for part in _UPPER) for name in joints])
        self.chest = np.array([any(part in name for part in _CHEST) for name in joints])
        self.head = np.array([any(part in name for part in _HEAD) for name in joints])
        self.side = self.people.crops.shape[1] / CONTEXT

    def middle(self) -> Floats:
        """Centre of every stored crop, and of every box."""
        return np.full(2, (self.people.crops.shape[1] - 1) / 2, np.float32)

    def plain(self, index: int, size: int) -> Sample:
        """Cut a person's box x 1.25 without any change, for validation."""
        return self._cut(index, Look(self.middle(), self.side * BOX_MARGIN / size), size)

    def pair(self, index: int, size: int) -> Sample:
        """Cut as `plain` does, with a second person beside: the same one for every network that is measured."""
        sample = self.plain(index, size)
        self.rng = np.random.default_rng(index)
        self._neighbour(sample)
        return sample

    def random(self, index: int, size: int, *, wild: bool) -> Sample:
        """Cut a person at random; the wild ones rotate far and are now and then upside down."""
        rng = self.rng
        centre, side, part = self._frame(index, wild=wild)
        side *= BOX_MARGIN * float(np.exp(np.clip(rng.normal(0, 0.18), -0.4, 0.45)))
        centre = centre + np.clip(rng.normal(0, 0.06, 2), -0.14, 0.14).astype(np.float32) * side
        look = Look(centre.astype(np.float32), side / size, self._angle(wild=wild), bool(rng.random() < 0.5))
        sample = self._cut(index, look, size)
        if self.backgrounds is not None and rng.random() < 0.4:
            self._fill(sample, index, look)
        if part is not None and rng.random() < 0.7:
            self._cut_below(sample, part)
        if rng.random() < self.neighbours:
            self._neighbour(sample)
        sample.image = disturb(sample.image, self._patch_source(), rng)
        return sample

    def _frame(self, index: int, *, wild: bool) -> tuple[Floats, float, NDArray[np.bool_] | None]:
        """Choose what fills the crop: the person (None), or their upper body, chest or face (the joints of it)."""
        draw = self.rng.random()
        for share, part in zip(
            (0.04, 0.1, 0.12) if wild else (0.08, 0.2, 0.34), (self.head, self.chest, self.upper), strict=True
        ):
            if draw < share:
                centre, side, half = self._part(index, part)
                return centre, side, part if half else None
        return self.middle(), self.side, None

    def _angle(self, *, wild: bool) -> float:
        """Draw a rotation in radians: mostly within 30 degrees, seldom more."""
        rng = self.rng
        draw = rng.random()
        if draw < (0.03 if wild else 0.01):
            return float(np.pi + rng.normal(0, 0.3))
        if draw < (0.07 if wild else 0.04):
            return float(rng.uniform(-np.pi / 2, np.pi / 2))
        if draw > (0.85 if wild else 0.65):
            return 0.0
        return float(np.clip(rng.normal(0, 0.25), -0.52, 0.52))

    def _fill(self, sample: Sample, index: int, look: Look) -> None:
        """Show a photo without people where the person's image ends, instead of grey."""
        assert self.backgrounds is not None
        size, rng = len(sample.image), self.rng
        left, top, right, bottom = self.people.image_box[index]
        mask = np.zeros(self.people.crops.shape[1:3], np.uint8)
        mask[max(0, round(top)) : max(0, round(bottom)), max(0, round(left)) : max(0, round(right))] = 255
        inside = cv2.warpAffine(mask, look.matrix(size), (size, size), flags=cv2.INTER_LINEAR)
        if inside.min() == 255:
            return
        photo = self.backgrounds[rng.integers(len(self.backgrounds))]
        piece = photo[:, ::-1] if rng.random() < 0.5 else photo
        piece = np.asarray(cv2.resize(piece, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
        sample.image = np.where(inside[..., None] > 127, sample.image, piece)

    def _neighbour(self, sample: Sample) -> None:
        """Lay another person over the rim of the crop; the one in the middle stays the one that is asked for."""
        rng, size = self.rng, len(sample.image)
        other = int(rng.integers(len(self.people)))
        side = size / BOX_MARGIN * float(rng.uniform(0.6, 1.1))
        matrix = Look(self.middle(), self.side / side, float(rng.normal(0, 0.1)), bool(rng.random() < 0.5))
        extent = self.people.extent[other] / self.side * side
        x = size / 2 + rng.choice((-1, 1)) * (size * rng.uniform(0.3, 0.5) + extent[0] * 0.3)
        y = size * rng.uniform(0.35, 0.75)
        patch = sampled(self.people.crops[other], matrix.matrix(size, (x, y)), (size, size))
        steps = np.arange(size, dtype=np.float32)
        dx, dy = ((steps - c) / (e * 0.55 + 2) for c, e in zip((x, y), extent, strict=True))
        alpha = np.clip((1.1 - (np.abs(dx)[None] ** 4 + np.abs(dy)[:, None] ** 4) ** 0.25) * 8, 0, 1)[..., None]
        sample.image = (sample.image + (patch.astype(np.float32) - sample.image) * alpha).astype(np.uint8)

    def _patch_source(self) -> Pixels:
        return self.people.crops[self.rng.integers(len(self.people))]

    def _part(self, index: int, part: NDArray[np.bool_]) -> tuple[Floats, float, bool]:
        """Box of the joints `part` (J,), if enough of them are marked; else the person's own box and False."""
        joints = self.people.joints[index][part & (self.people.known[index] > 0)]
        if len(joints) < 5:
            return self.middle(), self.side, False
        low, high = joints.min(0), joints.max(0)
        side = float((high - low).max())
        if side < 0.25 * self.side:
            return self.middle(), self.side, False
        return ((low + high) / 2).astype(np.float32), side, True

    def _cut(self, index: int, look: Look, size: int) -> Sample:
        """Sample the image and bring the labels along; a mirrored person's left joints are right ones."""
        people, matrix = self.people, look.matrix(size)
        joints, known, absent = moved(matrix, people.joints[index]), people.known[index], people.absent[index]
        if look.mirror:
            twin = list(self.skeleton.mirror)
            joints, known, absent = joints[twin], known[twin], absent[twin]
        inside = ((joints >= 0) & (joints <= size - 1)).all(1)
        box = clipped(moved(matrix, self.middle()[None])[0], people.extent[index] / look.scale, (size, size))
        weight = np.where(absent, np.float32(0.5), known)
        image = sampled(people.crops[index], matrix, (size, size))
        return Sample(image, joints, weight, (known > 0) & inside, box[None])

    def _cut_below(self, sample: Sample, part: NDArray[np.bool_]) -> None:
        """End the image just below a part of the body: what a webcam shows of a person at a desk."""
        size = len(sample.image)
        marked = sample.shown & part
        if not marked.any():
            return
        line = sample.joints[marked, 1].max() + size * float(self.rng.uniform(-0.08, 0.12))
        sample.image[max(0, int(line)) :] = OUTSIDE
        sample.shown = sample.shown & (sample.joints[:, 1] <= line)
        x, y, w, h = sample.boxes[0]
        sample.boxes = clipped(np.array((x, y), np.float32), np.array((w, h), np.float32), (size, line))[None]


def clipped(centre: Floats, extent: Floats, size_wh: tuple[float, float]) -> Floats:
    """Clip a box to an image: centre x, y, width and height, (4,); all 0 where next to nothing is left of it."""
    low, high = np.maximum(centre - extent / 2, 0), np.minimum(centre + extent / 2, np.array(size_wh) - 1)
    left = np.maximum(high - low, 0)
    if left.prod() < 0.1 * max(1e-6, float(extent.prod())) or left.min() < 4:
        return np.zeros(4, np.float32)
    return np.concatenate(((low + high) / 2, left)).astype(np.float32)


def disturb(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """Augment an image (H, W, 3): light, color, blur, noise, patches of `other` in front, each with some chance."""
    size = image.shape[0]
    for _ in range(2):
        if rng.random() < 0.15:
            _patch(image, other, rng)
    draw = rng.random(6)
    if draw[0] < 0.12:
        image = np.asarray(cv2.blur(image, (3, 3)), np.uint8)
    elif draw[0] < 0.18:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), size / 100), np.uint8)
    elif draw[0] < 0.26:
        image = np.asarray(cv2.filter2D(image, -1, _motion(rng, size)), np.uint8)
    if draw[1] < 0.1:
        small = cv2.resize(image, (size // 3, size // 3), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
    if draw[2] < 0.5:
        saturation = 0.0 if draw[2] < 0.1 else float(rng.uniform(0.5, 1.4))
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        image = np.asarray(cv2.addWeighted(image, saturation, grey, 1 - saturation, 0), np.uint8)
    image = np.asarray(cv2.LUT(image, _light(image, rng)), np.uint8)
    if draw[3] < 0.3:
        noise = np.empty(image.shape, np.int16)
        cv2.randn(noise, (0, 0, 0), (float(rng.uniform(2, 14)),) * 3)
        image = np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
    if draw[4] < 0.1:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 60))]
        image = np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR), np.uint8)
    return image


def _light(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Make one table a channel, (1, 256, 3): contrast, brightness, gamma and the color of the light."""
    levels = np.arange(256, dtype=np.float32)[:, None]
    mean = float(image[::4, ::4].mean())
    gain = rng.uniform(0.25, 0.6) if rng.random() < 0.08 else rng.uniform(0.6, 1.4)  # now and then a dim room
    table = ((levels - mean) * rng.uniform(0.6, 1.4) + mean) * gain
    if rng.random() < 0.5:
        table = table * rng.uniform(0.8, 1.25, 3)
    table = np.broadcast_to(np.clip(table, 0, 255), (256, 3))
    if rng.random() < 0.3:
        table = 255 * (table / 255) ** np.exp(rng.uniform(np.log(0.3), np.log(2.2)))
    return np.ascontiguousarray(table.round().astype(np.uint8)[None])


def _motion(rng: np.random.Generator, size: int) -> Floats:
    """Draw a short line as a blur kernel."""
    length = int(rng.integers(3, max(4, size // 18)))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    reach = (length - 1) / 2
    ends = [
        (round(reach + sign * reach * np.cos(angle)), round(reach + sign * reach * np.sin(angle))) for sign in (-1, 1)
    ]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return kernel / kernel.sum()


def _patch(image: Pixels, other: Pixels, rng: np.random.Generator) -> None:
    """Cover a rectangle with a piece of another image, or with one color."""
    size = image.shape[0]
    width, height = (int(v) for v in rng.uniform(0.08, 0.4, 2) * size)
    x, y = int(rng.integers(-width // 2, size - width // 2)), int(rng.integers(-height // 2, size - height // 2))
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, size), min(y + height, size)
    if rng.random() < 0.4:
        image[y0:y1, x0:x1] = rng.integers(0, 256, 3)
        return
    u, v = (
        int(rng.integers(0, max(1, have - side)))
        for have, side in zip(other.shape[1::-1], (x1 - x0, y1 - y0), strict=True)
    )
    piece = other[v : v + y1 - y0, u : u + x1 - x0]
    image[y0 : y0 + piece.shape[0], x0 : x0 + piece.shape[1]] = piece
