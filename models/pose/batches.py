"""What a training step sees: crops of people, and scenes for finding them.

Owns the mix of sources, and the threads that make the next batches while the network is at work.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...runtime.bundle.manifest import Skeleton
from ...runtime.errors import SourceNotFound
from ..data import find_photos, photo_squares
from .augment import Cropper, Sample
from .people import People, load_frames, load_people
from .scenes import ELEMENTS, SceneMaker

HELD_OUT = ("webcam_hungry", "webcam_want", "webcam_eat", "webcam_bird", "photos/val")
TRAIN_LABELS = ("pose/lspet/train.json", "pose/pseudo/videos.json", "pose/pseudo/photos.json")
# photos without people, and how often each kind of them is drawn
NEGATIVES = {
    "houses": 0.24, "cmu16720": 0.28, "huts": 0.08, "elementary": 0.08, "deep": 0.08, "dogcat": 0.16, "grocery": 0.08,
}  # fmt: skip
CLIPS = ("webcam", "one-by-one", "bedroom", "decord", "davis")
ALONE = ("webcam", "ccp", "decord", "davis", "clothing")  # nobody but the labelled person is to be seen there
WILD = ("lspet",)  # people in any posture
_AHEAD = 3  # batches made ahead of the network


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How much of what.

    Parameters
    ----------
    size : pixels of the network's crops; square : pixels of a stored square
    crops, scenes : of each a batch
    wild : share of crops from people in any posture; video : share from clips; the rest are photos
    threads : that make batches
    """

    size: int = 192
    square: int = 320
    crops: int = 64
    scenes: int = 8
    wild: float = 0.72
    video: float = 0.13
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures and labels, crops first, then scenes; shapes as in `Sample` with the batch in front.

    Parameters
    ----------
    image : (B, 3, S, S) float32 BGR in [0, 1], channels last in memory
    boxes : (B, K, 4)
    crops : how many of B are crops
    """

    image: Tensor
    joints: Tensor
    weight: Tensor
    shown: Tensor
    boxes: Tensor
    sure: Tensor
    empty: Tensor
    crops: int


def collate(samples: Sequence[Sample], crops: int, device: str) -> Batch:
    """Put samples together on a device."""
    pixels = torch.from_numpy(np.stack([s.image for s in samples])).to(device)
    image = pixels.permute(0, 3, 1, 2).float().div_(255)  # keeps channels last

    def stacked(arrays: Sequence[NDArray[np.float32]] | Sequence[NDArray[np.bool_]]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(device)

    boxes = [np.pad(s.boxes, ((0, ELEMENTS - len(s.boxes)), (0, 0))) for s in samples]
    sure, empty = (torch.tensor([getattr(s, name) for s in samples], device=device) for name in ("sure", "empty"))
    return Batch(
        image, stacked([s.joints for s in samples]), stacked([s.weight for s in samples]),
        stacked([s.shown for s in samples]), stacked(boxes), sure, empty, crops,
    )  # fmt: skip


class PoseBatches:
    """Random batches out of a data folder laid out as in the design's section 6.

    Parameters
    ----------
    data : folder with `pose/`, `photos/` and `videos/`
    extra : further COCO-keypoints files

    Raises
    ------
    SourceNotFound
        If labels or pictures are missing.
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
    ) -> None:
        self.options, self.skeleton = options, skeleton
        labels = [data / name for name in TRAIN_LABELS] + list(extra)
        self.people = load_people(
            labels, skeleton, root=data, size=options.square, cache=cache, exclude=HELD_OUT, in_memory=True
        )
        self.wild = self.people.in_groups(WILD)
        self.cumulated = np.cumsum(_weights(self.people, options))
        if options.scenes:
            scored = [path for path in labels if "pseudo" in str(path)]
            self.frames = load_frames(scored, root=data, size=256, cache=cache, exclude=HELD_OUT)
            self.backgrounds, self.background_weights = _backgrounds(data / "photos" / "train", cache)
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
        cropper = Cropper(self.people, self.skeleton, rng)
        maker = None
        if self.options.scenes:
            alone = self.frames.in_groups(ALONE)
            maker = SceneMaker(cropper, self.frames, alone, self.backgrounds, np.cumsum(self.background_weights))
        try:
            while True:
                self._ready.put(self._make(cropper, maker))
        except Exception as error:
            self._ready.put(error)

    def _make(self, cropper: Cropper, maker: SceneMaker | None) -> list[Sample]:
        """Make one batch."""
        options, size, rng = self.options, self.size, cropper.rng

        def chosen(count: int) -> NDArray[np.int64]:
            return np.searchsorted(self.cumulated, rng.random(count) * self.cumulated[-1])

        samples = [cropper.random(int(i), size, wild=bool(self.wild[i])) for i in chosen(options.crops)]
        if maker is not None:
            composed = options.scenes * 2 // 3
            samples += [maker.compose(chosen(ELEMENTS), size) for _ in range(composed)]
            real = rng.integers(0, len(self.frames), options.scenes - composed)
            samples += [maker.whole(int(i), size) for i in real]
        return samples


def _weights(people: People, options: BatchOptions) -> NDArray[np.float64]:
    """Give each person a sampling weight: the three shares, clips by the square root of their length."""
    sizes = np.bincount(people.group, minlength=len(people.groups))
    wild, clip = people.in_groups(WILD), people.in_groups(CLIPS)
    photo = ~wild & ~clip
    shares = ((wild, options.wild), (clip, options.video), (photo, 1 - options.wild - options.video))
    weights = np.zeros(len(people))
    for members, share in shares:
        each = members / np.sqrt(sizes[people.group]) if members is clip else members.astype(float)
        weights += share * each / max(1e-9, each.sum())
    return weights / weights.sum()


def _backgrounds(photos: Path, cache: Path) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Give squares of photos without people, and their weights."""
    wanted = tuple(NEGATIVES)
    chosen = [path for path in find_photos([photos]) if path.name.startswith(wanted)]
    if not chosen:
        raise SourceNotFound(f"There are no photos without people in {photos}", expected=", ".join(wanted))
    path = cache / f"backgrounds-{len(chosen)}.npz"
    if not path.exists():
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda photo: photo_squares(photo, 256), chosen))
        kind = [next(i for i, name in enumerate(wanted) if path.name.startswith(name)) for path in chosen]
        kinds = np.array([k for k, some in zip(kind, found, strict=True) for _ in some])
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, squares=np.stack([square for some in found for square in some]), kinds=kinds)
        temporary.replace(path)
    stored = np.load(path)
    kinds = stored["kinds"]
    counts = np.bincount(kinds, minlength=len(wanted))
    return stored["squares"], np.array([NEGATIVES[name] for name in wanted])[kinds] / counts[kinds]
