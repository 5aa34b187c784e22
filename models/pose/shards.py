"""Labelled people in WebDataset shards, for sets that no memory holds.

Owns the converter from COCO-keypoints files, and the stream of people that a training draws from. A sample is a crop
as in `People` (JPEG) and its labels (JSON), by the names of the joints.
"""

from __future__ import annotations

import json
import random
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from ...runtime.bundle.manifest import Skeleton
from ...runtime.errors import SourceError, SourceNotFound
from ..shards import make_new_folder, read_index, samples_of, shard_writer, write_index
from .people import People, cut_person, entries_of, labels_in_crops, read_images
from .skeleton import SKELETONS, placed

STORED = 320  # pixels of a crop
_QUALITY = 95  # of the JPEG
_AT_ONCE = 64  # images that the converter holds
_SHUFFLE = 500  # samples that are mixed, beside the mixing of whole shards
_RING = 1024  # people that are held at a time, 0.3 MB each

Labels = dict[str, NDArray[Any]]


def convert_people(
    labels: Sequence[Path], out: Path, *, roots: Sequence[Path], per_shard: int = 1000, seed: int = 0
) -> tuple[int, int, int]:
    """Write the people of label files into shards, in a random order.

    Parameters
    ----------
    labels : COCO-keypoints files
    out : folder of the shards, which must be empty or new
    roots : folders below which images are looked for, after the folder of each label file
    per_shard : people in a shard
    seed : of the order

    Returns
    -------
    people, shards, skipped images
        `skipped.jsonl` says which images were skipped and why.

    Raises
    ------
    SinkError
        If the folder holds something, or cannot be written.
    SourceNotFound
        If nobody is left.
    """
    make_new_folder(out)
    skeleton = SKELETONS["union-19"]
    skipped: list[dict[str, str]] = []
    by_image: dict[Path, list[dict[str, Any]]] = defaultdict(list)
    for file in labels:
        missing: list[str] = []
        for entry in entries_of(file, skeleton, roots, missing=missing):
            by_image[entry["path"]].append(entry)
        reason = f"{file.name} names it, and it is not there"
        skipped += [{"image": name, "reason": reason} for name in dict.fromkeys(missing)]
    items = list(by_image.items())
    random.Random(seed).shuffle(items)
    written = 0
    with ThreadPoolExecutor() as pool, shard_writer(out, "people", per_shard) as shards:
        # Some at a time: the crops of millions of people do not fit into memory.
        jobs = (pool.map(_cut, items[at : at + _AT_ONCE]) for at in range(0, len(items), _AT_ONCE))
        cut = (one for part in jobs for one in part)
        for path, (samples, reason) in zip(
            (path for path, _ in items),
            track(cut, "writing shards", total=len(items), console=Console(stderr=True)),
            strict=True,
        ):
            if reason:
                skipped.append({"image": str(path), "reason": reason})
            for content, found in samples:
                shards.write({"__key__": f"{written:09d}", "jpg": content, "json": _as_json(found, skeleton)})
                written += 1
    write_index(out, "people", written, skipped, size=STORED)
    index, found = read_index(out, "size")
    return written, len(found), index["skipped"]


def _cut(item: tuple[Path, list[dict[str, Any]]]) -> tuple[list[tuple[bytes, Labels]], str]:
    """Cut the people of one image or video; gives JPEG files and labels, or why there are none."""
    path, entries = item
    try:
        images = read_images(path, entries, list(range(len(entries))))
    except SourceNotFound as error:
        return [], error.problem
    crops, frames, order = [], [], []
    for place, pixels in images:
        crop, frame = cut_person(pixels, entries[place]["box"], STORED)
        crops.append(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
        frames.append(frame)
        order.append(entries[place])
    found = labels_in_crops(order, np.stack(frames))
    return [(crop, {name: rows[n] for name, rows in found.items()}) for n, crop in enumerate(crops)], ""


def _as_json(labels: Labels, skeleton: Skeleton) -> dict[str, Any]:
    """Labels of one person as plain values."""
    return {"names": list(skeleton.joints)} | {name: rows.tolist() for name, rows in labels.items()}


class PeopleStream:
    """A ring of people out of shards; whoever was drawn is replaced by the next of the stream.

    One a thread. Nothing is kept on disk, and the memory does not depend on the size of the set.

    Parameters
    ----------
    folders : that `convert_people` wrote
    skeleton : joints of the result
    seed : of the order; another one in every thread and process
    size : S, pixels of a crop
    ring : people that are held, 0.3 MB each

    Attributes
    ----------
    people : N people, of which `draw` names some

    Raises
    ------
    SourceNotFound
        If shards are missing, or a folder holds something else.
    SourceError
        If a shard is damaged.
    """

    def __init__(
        self, folders: Sequence[Path], skeleton: Skeleton, *, seed: int, size: int = STORED, ring: int = _RING
    ) -> None:
        found = [read_index(folder, "size") for folder in folders]
        shards = [path for _, paths in found for path in paths]
        count = min(ring, sum(int(index["samples"]) for index, _ in found))
        self._samples = samples_of(shards, shuffle=_SHUFFLE, seed=seed)
        self._skeleton = skeleton
        joints = len(skeleton.joints)
        self.people = People(
            crops=np.zeros((count, size, size, 3), np.uint8), joints=np.zeros((count, joints, 2), np.float32),
            known=np.zeros((count, joints), np.float32), absent=np.zeros((count, joints), bool),
            extent=np.zeros((count, 2), np.float32), group=np.zeros(count, np.int32),
            frame=np.zeros((count, 3), np.float32), image=np.arange(count, dtype=np.int32),
            image_box=np.zeros((count, 4), np.float32), groups=("shards",),
        )  # fmt: skip
        self._next = 0
        self._used = 0
        self._replace(count)

    def draw(self, count: int) -> NDArray[np.int64]:
        """Give the places of the next people in the ring, (count,); those drawn before are replaced first."""
        self._replace(self._used)
        self._used = min(count, len(self.people))
        places: NDArray[np.int64] = (self._next + np.arange(count)) % len(self.people)
        return places

    def _replace(self, count: int) -> None:
        """Fill the places after the last one filled."""
        people = self.people
        for sample in self._read(count):
            place = self._next
            labels = json.loads(sample["json"])
            order = placed(labels["names"], self._skeleton)
            pixels = cv2.imdecode(np.frombuffer(sample["jpg"], np.uint8), cv2.IMREAD_COLOR)
            if pixels is None:
                raise SourceError(f"Sample {sample['__key__']} holds no photo", todo="Convert the people again")
            scale = people.crops.shape[1] / pixels.shape[0]
            people.crops[place] = (
                pixels if scale == 1 else cv2.resize(pixels, people.crops.shape[1:3], interpolation=cv2.INTER_AREA)
            )
            for name in ("joints", "known", "absent"):
                rows = np.asarray(labels[name])
                values = [rows[i] if i >= 0 else np.zeros(rows.shape[1:], rows.dtype) for i in order]
                getattr(people, name)[place] = values
            people.joints[place] = (people.joints[place] + 0.5) * scale - 0.5
            people.extent[place] = np.asarray(labels["extent"]) * scale
            people.image_box[place] = np.asarray(labels["image_box"]) * scale
            people.frame[place] = np.asarray(labels["frame"]) / (1, 1, scale)
            self._next = (place + 1) % len(people)

    def _read(self, count: int) -> Iterator[Mapping[str, Any]]:
        try:
            yield from islice(self._samples, count)
        except (OSError, ValueError, tarfile.TarError) as error:
            raise SourceError(f"A shard cannot be read ({error})", todo="Convert the people again") from error
