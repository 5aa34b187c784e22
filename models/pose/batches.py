"""What a training step sees: crops of people, and scenes for finding them.

Owns the mix of sources. Everything is moved to the device once; a step only indexes and disturbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...runtime.errors import SourceNotFound
from ...runtime.manifest import Skeleton
from ..data import find_photos, photo_squares
from .augment import Crops, PeopleOnDevice, random_crops
from .people import People, load_frames, load_people
from .scenes import ELEMENTS, Scenes, compose, smaller, whole

HELD_OUT = ("webcam_hungry", "webcam_want", "webcam_eat", "webcam_bird", "photos/val")
TRAIN_LABELS = ("pose/lspet/train.json", "pose/pseudo/videos.json", "pose/pseudo/photos.json")
# photos without people, and how often each kind of them is drawn
NEGATIVES = {
    "houses": 0.24, "cmu16720": 0.28, "huts": 0.08, "elementary": 0.08, "deep": 0.08, "dogcat": 0.16, "grocery": 0.08,
}  # fmt: skip
# pictures in which nobody but the labelled person is to be seen
ALONE = ("webcam", "ccp", "decord", "davis", "clothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How much of what.

    Parameters
    ----------
    size : pixels of the network's crops; square : pixels of a stored square
    crops, scenes : of each a batch
    wild : share of crops from people in any posture (label sets without scores: human labels of sport)
    video : share of crops from clips; the rest are photos
    """

    size: int = 192
    square: int = 320
    crops: int = 192
    scenes: int = 64
    wild: float = 0.5
    video: float = 0.23


class PoseBatches:
    """Random batches out of a data folder laid out as in the design's section 6.

    Parameters
    ----------
    data : folder with `pose/`, `photos/` and `videos/`; labels that are missing there are an error
    extra : further COCO-keypoints files
    """

    def __init__(
        self,
        data: Path,
        skeleton: Skeleton,
        options: BatchOptions,
        *,
        device: str,
        cache: Path,
        extra: Sequence[Path] = (),
    ) -> None:
        self.options, self.skeleton, self.device = options, skeleton, device
        labels = [data / name for name in TRAIN_LABELS] + list(extra)
        people = load_people(labels, skeleton, root=data, size=options.square, cache=cache, exclude=HELD_OUT)
        self.names = people.groups
        self.people = PeopleOnDevice(people, skeleton, device)
        self.wild_group = torch.from_numpy(people.in_groups(["lspet"])).to(device)
        self.weights = torch.from_numpy(_weights(people, options)).to(device)
        self.scenes_on = options.scenes > 0
        if self.scenes_on:
            half = smaller(self.people.squares, 2, device)
            self.small = half, smaller(half, 2, device)
            self.frames, self.alone = _whole_pictures(people, labels, data, cache, device)
            self.backgrounds, self.background_weights = _backgrounds(data / "photos" / "train", device)

    def draw(self) -> tuple[Crops, Scenes | None]:
        """Give a batch of crops and, where the options ask for them, scenes."""
        options = self.options
        index = torch.multinomial(self.weights, options.crops, replacement=True)
        crops = random_crops(self.people, index, options.size, self.wild_group[index])
        if not self.scenes_on:
            return crops, None
        count = options.scenes * 2 // 3
        chosen = torch.multinomial(self.weights, count * ELEMENTS, replacement=True).view(count, ELEMENTS)
        around = torch.multinomial(self.background_weights, max(64, count), replacement=True)
        composed = compose(self.people, chosen, self.backgrounds[around], self.small, options.size)
        index = torch.randint(len(self.frames.joints), (options.scenes - count,), device=self.device)
        real = whole(self.frames, index, self.alone, options.size)
        real.box = torch.nn.functional.pad(real.box, (0, 0, 0, ELEMENTS - 1))
        names = ("image", "box", "sure", "empty")
        return crops, Scenes(*(torch.cat((getattr(composed, name), getattr(real, name))) for name in names))


def _weights(people: People, options: BatchOptions) -> NDArray[np.float64]:
    """Give each person a sampling weight: the three shares, clips by the square root of their length."""
    sizes = np.bincount(people.group, minlength=len(people.groups))
    wild, clip = people.in_groups(["lspet"]), people.in_groups(["webcam", "one-by-one", "bedroom", "decord", "davis"])
    weights = np.zeros(len(people))
    weights[wild] = options.wild / max(1, wild.sum())
    by_clip = clip / np.sqrt(sizes[people.group])
    weights += options.video * by_clip / max(1e-9, by_clip.sum())
    photo = ~wild & ~clip
    weights[photo] = (1 - options.wild - options.video) / max(1, photo.sum())
    if weights.sum() <= 0:
        raise SourceNotFound("No person is left to train on")
    return weights / weights.sum()


def _whole_pictures(
    people: People, labels: Sequence[Path], data: Path, cache: Path, device: str
) -> tuple[PeopleOnDevice, Tensor]:
    """Give every upright person's whole picture, letterboxed, with the middle of their box as the only joint."""
    frames = load_frames(
        [p for p in labels if "pseudo" in str(p)], root=data, size=256, cache=cache, exclude=HELD_OUT
    )
    alone = torch.from_numpy(frames.in_groups(ALONE)).to(device)
    dot = Skeleton("centre", ("nose",), (), (0,))
    return PeopleOnDevice(frames, dot, device), alone


def _backgrounds(photos: Path, device: str) -> tuple[Tensor, Tensor]:
    """Give squares of photos without people, and their weights."""
    wanted = tuple(NEGATIVES)
    chosen = [path for path in find_photos([photos]) if path.name.startswith(wanted)]
    if not chosen:
        raise SourceNotFound(f"There are no photos without people in {photos}", expected=", ".join(wanted))
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda path: photo_squares(path, 256), chosen))
    kind = [next(i for i, name in enumerate(wanted) if path.name.startswith(name)) for path in chosen]
    kinds = np.array([k for k, some in zip(kind, found, strict=True) for _ in some])
    squares = np.stack([square for some in found for square in some])
    counts = np.bincount(kinds, minlength=len(wanted))
    weights = np.array([NEGATIVES[name] for name in wanted])[kinds] / counts[kinds]
    return torch.from_numpy(squares).to(device), torch.from_numpy(weights).to(device)
