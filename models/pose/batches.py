"""What a training step sees: crops of people, and scenes for finding them.

Owns the mix of sources, and the threads that make the next batches while the network is at work.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...runtime.bundle.manifest import Skeleton
from ...runtime.errors import SourceNotFound
from .augment import Cropper, Sample
from .labels import is_upright
from .people import People, load_people
from .photos import Photos, load_photos
from .scenes import ELEMENTS, SceneMaker
from .shards import PeopleStream

HELD_OUT = ("webcam_hungry", "webcam_want", "webcam_eat", "webcam_bird", "photos/val")
# label files, each with the teacher's opinion of the same people where there is one
TRAIN_LABELS = {
    "pose/lspet/train.json": "pose/teacher/lspet_train.json",
    "pose/pseudo/videos.json": "pose/teacher/pseudo_videos.json",
    "pose/pseudo/photos.json": "pose/teacher/pseudo_photos.json",
    "pose/teacher/people_train.json": None,
    "pose/teacher/whole_train.json": None,
}
WHOLE_LABELS = "pose/teacher/whole_train.json"
# photos without people, and how often each kind of them is drawn
NOBODY = {
    "cmu16720": 0.16, "caltech101": 0.14, "dogcat": 0.16, "imagenet": 0.14, "osie": 0.1, "bsds500": 0.06,
    "houses": 0.06, "clothing": 0.04, "huts": 0.03, "grocery": 0.05, "jetson": 0.02, "deep": 0.02, "elementary": 0.02,
}  # fmt: skip
# kinds of people, and how often each is drawn; the rest are photos
NEW = {
    "photos": 0.105, "flickr": 0.095, "animals": 0.075, "street": 0.095, "workers": 0.08, "exercise": 0.06,
    "yoga": 0.04, "sports": 0.05,
}  # fmt: skip
CLIPS = ("webcam", "one-by-one", "bedroom", "decord", "davis")
WILD = ("lspet",)  # people in any posture
_AHEAD = 3  # batches made ahead of the network


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How much of what.

    Parameters
    ----------
    size : pixels of the crops that the network sees; stored_size : pixels of a stored crop
    crops, scenes : of each a batch
    wild : share of crops from people in any posture, upright ones twice as often as others; video : share from
        clips; `NEW` are drawn as it says; the rest are photos
    neighbours : share of crops with a second person at the rim
    streamed : share of crops from shards, where there are any; the other shares are of what is left
    threads : that make batches
    """

    size: int = 192
    stored_size: int = 320
    crops: int = 36
    scenes: int = 12
    wild: float = 0.23
    video: float = 0.07
    neighbours: float = 0.12
    streamed: float = 0.5
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Images and labels, crops first, then scenes; shapes as in `Sample` with the batch in front.

    Parameters
    ----------
    image : (B, 3, S, S) float32 BGR in [0, 1], channels last in memory
    boxes : (B, K, 4); ignored : (B, L, 4)
    crops : how many of B are crops
    """

    image: Tensor
    joints: Tensor
    weight: Tensor
    shown: Tensor
    boxes: Tensor
    sure: Tensor
    empty: Tensor
    ignored: Tensor
    crops: int


def collate(samples: Sequence[Sample], crops: int, device: str) -> Batch:
    """Put samples together on a device."""
    pixels = torch.from_numpy(np.stack([s.image for s in samples])).to(device)
    image = pixels.permute(0, 3, 1, 2).float().div_(255)  # keeps channels last

    def stacked(arrays: Sequence[NDArray[np.float32]] | Sequence[NDArray[np.bool_]]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(device)

    boxes = [np.pad(s.boxes, ((0, ELEMENTS - len(s.boxes)), (0, 0))) for s in samples]
    most = max(1, *(len(s.ignored) for s in samples))
    ignored = [np.pad(s.ignored, ((0, most - len(s.ignored)), (0, 0))) for s in samples]
    sure, empty = (torch.tensor([getattr(s, name) for s in samples], device=device) for name in ("sure", "empty"))
    return Batch(
        image, stacked([s.joints for s in samples]), stacked([s.weight for s in samples]),
        stacked([s.shown for s in samples]), stacked(boxes), sure, empty, stacked(ignored), crops,
    )  # fmt: skip


class PoseBatches:
    """Random batches out of a data folder laid out as in the design's section 6.

    Parameters
    ----------
    data : folder with `pose/`, `photos/` and `videos/`
    extra : further COCO-keypoints files
    shards : folders of people in shards; see `shards.convert_people`

    Raises
    ------
    SourceNotFound
        If labels or images are missing.
    """

    def __init__(
        self,
        data: Path,
        skeleton: Skeleton,
        options: BatchOptions,
        *,
        cache: Path,
        seed: int = 0,
        extra: Sequence[Path] = (),
        shards: Sequence[Path] = (),
    ) -> None:
        self.options, self.skeleton, self._shards = options, skeleton, shards
        labels = {data / name: other and data / other for name, other in TRAIN_LABELS.items()}
        self.people = load_people(
            labels | dict.fromkeys(extra), skeleton, root=data, size=options.stored_size, cache=cache,
            exclude=HELD_OUT, in_memory=True,
        )  # fmt: skip
        self.wild = self.people.in_groups(WILD)
        self.cumulated = np.cumsum(_weights(self.people, skeleton, options))
        if options.scenes:
            self.photos = load_photos(data / WHOLE_LABELS, root=data, cache=cache)
        self._ready: queue.Queue[list[Sample] | BaseException] = queue.Queue(_AHEAD)
        self.size = options.size  # may be changed at any time; batches that are already made keep theirs
        for number in range(options.threads):
            threading.Thread(target=self._work, args=(seed * 1000 + number,), daemon=True).start()

    def draw(self, device: str = "cpu") -> Batch:
        """Give the next batch; a failure in a thread is raised here."""
        made = self._ready.get()
        if isinstance(made, BaseException):
            raise made
        return collate(made, self.options.crops, device)

    def _work(self, seed: int) -> None:
        """Make batches for ever."""
        rng = np.random.default_rng(seed)
        cropper = Cropper(self.people, self.skeleton, rng, neighbours=self.options.neighbours)
        maker = stream = None
        if self.options.scenes:
            maker = SceneMaker(cropper, self.photos, np.cumsum(_nobody_weights(self.photos)))
            cropper.backgrounds = self.photos.images[self.photos.nobody][:: max(1, self.photos.nobody.sum() // 400)]
        try:
            if self._shards:
                stream = PeopleStream(self._shards, self.skeleton, seed=seed, size=self.options.stored_size)
                streamed = replace(cropper, people=stream.people)
            while True:
                count = 0 if stream is None else int(rng.binomial(self.options.crops, self.options.streamed))
                samples = self._make(cropper, maker, self.options.crops - count)
                if stream is not None:
                    drawn = stream.draw(count)
                    samples[:0] = [streamed.random(int(i), self.size, wild=False) for i in drawn]
                self._ready.put(samples)
        except Exception as error:
            self._ready.put(error)

    def _make(self, cropper: Cropper, maker: SceneMaker | None, crops: int) -> list[Sample]:
        """Make crops of people in memory, and scenes."""
        options, size, rng = self.options, self.size, cropper.rng

        def chosen(count: int) -> NDArray[np.int64]:
            return np.searchsorted(self.cumulated, rng.random(count) * self.cumulated[-1])

        samples = [cropper.random(int(i), size, wild=bool(self.wild[i])) for i in chosen(crops)]
        if maker is not None:
            composed, peopled = options.scenes // 4, options.scenes * 5 // 12
            samples += [maker.compose(chosen(ELEMENTS), size) for _ in range(composed)]
            samples += [maker.peopled(size) for _ in range(peopled)]
            samples += [maker.empty(size) for _ in range(options.scenes - composed - peopled)]
        return samples


def _weights(people: People, skeleton: Skeleton, options: BatchOptions) -> NDArray[np.float64]:
    """Give each person a sampling weight: the shares of the kinds, clips by the square root of their length."""
    sizes = np.bincount(people.group, minlength=len(people.groups))
    wild, clip = people.in_groups(WILD), people.in_groups(CLIPS)
    names = np.array(people.groups)[people.group]
    standing = [is_upright(j, k, skeleton) for j, k in zip(people.joints, people.known, strict=True)]
    upright = np.where(standing, 2.0, 1.0)
    weights = np.zeros(len(people))
    for name, share in NEW.items():
        members = names == name
        weights += share * members / max(1, members.sum())
    photo = ~wild & ~clip & ~np.isin(names, list(NEW))
    rest = max(0.0, 1 - options.wild - options.video - weights.sum())
    root = clip / np.sqrt(sizes[people.group])
    for each, share in ((wild * upright, options.wild), (root, options.video), (photo.astype(float), rest)):
        weights += share * each / max(1e-9, each.sum())
    return np.asarray(weights / weights.sum(), np.float64)


def _nobody_weights(photos: Photos) -> NDArray[np.float64]:
    """Give each photo the weight that it is drawn with as one without people; 0 where somebody is or may be."""
    weights = np.zeros(len(photos))
    for name, share in NOBODY.items():
        members = photos.nobody & (photos.group == name)
        weights += share * members / max(1, members.sum())
    if not weights.sum():
        raise SourceNotFound("There are no photos without people", expected=", ".join(NOBODY))
    return weights
