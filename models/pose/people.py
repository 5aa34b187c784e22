"""Labelled people out of COCO-keypoints files, cropped with context for what a training step can index.

Owns reading the label files, finding their images and video frames, and the cache of crops. Knows nothing of
networks; the label files may have any joints of `PARENTS`, and each joint that a file lacks is simply unknown.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from ...runtime.bundle.manifest import Skeleton
from ...runtime.errors import SourceNotFound
from ...runtime.image import crop_roi
from .labels import SURE, Opinion, merged, taught
from .skeleton import PARENTS, placed

CONTEXT = 2.0  # side of a stored crop over the side of the person's box
# in box sides: with its parent this near the image's border, an unmarked joint lies outside (legs are long)
NEAR_BORDER, NEAR_BORDER_LEGS = 0.12, 0.4
RULES = 3  # of labels, boxes and caches; raised when they change, so that old caches are left alone
VIDEOS = (".mp4", ".mkv", ".avi", ".mov")


@dataclass(frozen=True, slots=True)
class People:
    """N people, each in a square crop twice as large as their box.

    Parameters
    ----------
    crops : (N, S, S, 3) uint8 BGR; mid-grey outside the image
    joints : (N, J, 2) float32, x and y in pixels of the crop
    known : (N, J) float32, trust in each joint's place, 0 where nobody marked it
    absent : (N, J) bool, joints that lie outside the image for certain
    extent : (N, 2) float32, width and height of the box in pixels of the crop; it is centred
    group : (N,) int32, index into `groups`
    frame : (N, 3) float32, left, top (pixels of the image) and scale (image pixels a crop pixel)
    groups : names, such as `lspet` or a clip
    image : (N,) int32, number of the image, equal for people in the same one
    image_box : (N, 4) float32, left, top, right and bottom of the image in pixels of the crop
    """

    crops: NDArray[np.uint8]
    joints: NDArray[np.float32]
    known: NDArray[np.float32]
    absent: NDArray[np.bool_]
    extent: NDArray[np.float32]
    group: NDArray[np.int32]
    frame: NDArray[np.float32]
    image: NDArray[np.int32]
    image_box: NDArray[np.float32]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.joints)

    def only(self, keep: NDArray[np.bool_]) -> People:
        """Give the people where `keep` (N,) is true."""
        arrays = {f.name: getattr(self, f.name)[keep] for f in fields(self) if f.name != "groups"}
        return People(**arrays, groups=self.groups)

    def in_groups(self, wanted: Sequence[str]) -> NDArray[np.bool_]:
        """Mark, (N,), who belongs to a group whose name contains one of `wanted`."""
        hits = [i for i, name in enumerate(self.groups) if any(word in name for word in wanted)]
        return np.isin(self.group, hits)


def load_people(
    labels: Sequence[Path] | Mapping[Path, Path | None],
    skeleton: Skeleton,
    *,
    root: Path,
    size: int,
    cache: Path,
    exclude: Sequence[str] = (),
    in_memory: bool = False,
) -> People:
    """Read label files and cut every person, once; a second call takes the crops from `cache`.

    Parameters
    ----------
    labels : COCO-keypoints files; images are looked for beside each file and then below `root`; an image with a
        `frame` is that frame of a video. A mapping names for each the teacher's opinion of the same people, or None
    skeleton : joints of the result
    size : S, pixels of a stored crop
    exclude : images whose name contains one of these words are left out
    in_memory : read all crops at once; else they are mapped, and each waits for the disk when it is first used

    Raises
    ------
    SourceNotFound
        If a label file or an image is missing.
    """
    opinions = labels if isinstance(labels, Mapping) else dict.fromkeys(labels)
    files = [*opinions, *(other for other in opinions.values() if other is not None)]
    stamp = repr([(p.name, p.stat().st_size) for p in _existing(files)]) + repr(
        (skeleton.joints, size, exclude, CONTEXT, NEAR_BORDER_LEGS, RULES)
    )
    path = cache / f"people-{size}-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
    if not path.with_suffix(".npy").exists():
        found = [entries_of(file, skeleton, [root], exclude=exclude, opinion=opinions[file]) for file in labels]
        _write(path, [entry for entries in found for entry in entries], size)
    return _stored(path, in_memory=in_memory)


def _stored(path: Path, *, in_memory: bool) -> People:
    """Read a cache, its crops mapped or whole."""
    small = np.load(path.with_suffix(".npz"))
    return People(
        crops=np.load(path.with_suffix(".npy"), mmap_mode=None if in_memory else "r"),
        groups=tuple(str(name) for name in small["groups"]),
        **{name: small[name] for name in small.files if name != "groups"},
    )


def _existing(labels: Sequence[Path]) -> Sequence[Path]:
    for path in labels:
        if not path.is_file():
            raise SourceNotFound(f"There is no label file {path}", expected="a COCO-keypoints JSON")
    return labels


def entries_of(
    file: Path,
    skeleton: Skeleton,
    roots: Sequence[Path],
    *,
    exclude: Sequence[str] = (),
    opinion: Path | None = None,
    missing: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Give one entry a person: image, frame, box, joints in the skeleton's order.

    Images are looked for beside the file and then below the roots. Names of images that are not there are added to
    `missing`, and their people left out.

    Raises
    ------
    SourceNotFound
        If an image is not there, and `missing` is None.
    """
    content = json.loads(file.read_text())
    order = placed(content["categories"][0]["keypoints"], skeleton)
    images = {image["id"]: image for image in content["images"]}
    second = {} if opinion is None else {p["id"]: p for p in json.loads(opinion.read_text())["annotations"]}
    second_order = placed(content_joints(opinion), skeleton) if opinion is not None else []
    has = np.array([i >= 0 for i in order])
    entries = []
    for person in content["annotations"]:
        image = images[person["image_id"]]
        name, size_wh = image["file_name"], (image["width"], image["height"])
        if any(word in name for word in exclude) or person.get("iscrowd") or person.get("ignore"):
            continue
        path = next((p / name for p in (file.parent, *roots) if (p / name).is_file()), None)
        if path is None and missing is not None:
            missing.append(name)
            continue
        if path is None:
            below = ", ".join(str(root) for root in roots)
            raise SourceNotFound(
                f"{file.name} names an image that is not there", found=name, expected=f"below {below}"
            )
        own, box, unsure = _opinion(person, order), person["bbox"], np.zeros(len(order), bool)
        if "spread" in person or "sure" in person:  # the teacher's: it names every joint, the ones outside too
            marks = np.array([person["keypoints"][3 * i + 2] if i >= 0 else 0 for i in order])
            unsure = has & ~_beyond(own.joints, size_wh)
            box = tight_box(own.joints[marks > 0], size_wh) or box
            own = Opinion(own.joints, (marks == SURE).astype(np.float32), own.scores, own.agree)
            joints, known = taught(own, skeleton)
        elif person["id"] in second:
            teacher = _opinion(second[person["id"]], second_order, sure=SURE)
            joints, known = merged(own, teacher, skeleton)
            unsure = np.array([i >= 0 for i in second_order]) & ~_beyond(teacher.joints, size_wh)
        else:
            joints, known = own.joints, own.known
        absent = _outside(skeleton, joints, known, has, box, size_wh) & ~unsure
        entries.append(
            {"path": path, "frame": image.get("frame"), "box": box, "joints": joints, "known": known, "size": size_wh,
             "absent": absent, "group": _group(file, name), "image": f"{path}#{image.get('frame')}"}
        )  # fmt: skip
    return entries


def content_joints(file: Path) -> list[str]:
    """Names of the joints of a COCO-keypoints file."""
    return [str(name) for name in json.loads(file.read_text())["categories"][0]["keypoints"]]


def _opinion(person: Mapping[str, Any], order: Sequence[int], sure: int = 1) -> Opinion:
    """Read one annotation in the skeleton's order; `sure` is the least `v` that counts."""
    marked = np.array(person["keypoints"], np.float32).reshape(-1, 3)
    scores = np.array(person.get("scores", marked[:, 2] > 0), np.float32)
    agree = np.array(person.get("agree", np.full(len(marked), -1)), np.int64)
    trust = (marked[:, 2] >= sure) * (1 if sure == SURE else scores)

    def ordered(values: NDArray[Any], empty: float) -> NDArray[Any]:
        return np.array([values[i] if i >= 0 else np.full(values.shape[1:], empty) for i in order], values.dtype)

    return Opinion(
        ordered(marked[:, :2], 0), ordered(trust.astype(np.float32), 0), ordered(scores, 0), ordered(agree, -1)
    )


def _beyond(joints: NDArray[np.float32], size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Say which places (J, 2) lie outside the image, or at its very border."""
    slack = 0.02 * max(size_wh)
    return np.asarray((joints < slack).any(1) | (joints > np.array(size_wh) - slack).any(1))


def tight_box(joints: NDArray[np.float32], size_wh: tuple[int, int]) -> list[float] | None:
    """Compute x, y, width and height around the (J, 3) joints inside the image; None for fewer than three."""
    inside = joints[(joints >= 0).all(1) & (joints <= np.array(size_wh)).all(1)]
    if len(inside) < 3:
        return None
    low, high = inside.min(0), inside.max(0)
    return [float(v) for v in (*low, *np.maximum(high - low, 4))]


def _group(file: Path, name: str) -> str:
    """Name the kind of image: its clip, or the first part of a photo's name, or the label set's folder."""
    stem = Path(name).stem
    if Path(name).suffix in VIDEOS:
        return stem
    return stem.split("_")[0] if "_" in stem else file.parent.name


def _outside(
    skeleton: Skeleton, joints: NDArray[np.float32], known: NDArray[np.float32], has: NDArray[np.bool_],
    box: Sequence[float], size_wh: tuple[int, int],
) -> NDArray[np.bool_]:  # fmt: skip
    """Say which unmarked joints lie outside the image: their parent is at its border, or outside itself."""
    place = {name: index for index, name in enumerate(skeleton.joints)}
    absent = np.zeros(len(joints), bool)
    for child, parent in PARENTS.items():  # parents come before their children
        if child not in place or parent not in place:
            continue
        c, p = place[child], place[parent]
        if not has[c] or known[c] > 0:
            continue
        near = (NEAR_BORDER_LEGS if child.endswith(("knee", "ankle")) else NEAR_BORDER) * max(box[2:])
        x, y = joints[p]
        border = known[p] > 0 and min(x, y, size_wh[0] - x, size_wh[1] - y) < near
        absent[c] = border or absent[p]
    return absent


def _write(path: Path, entries: list[dict[str, Any]], size: int) -> None:
    """Cut all crops into `path`.npy and write the rest into `path`.npz."""
    if not entries:
        raise SourceNotFound("The label files hold no person")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    crops = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(len(entries), size, size, 3))
    frames = np.zeros((len(entries), 3), np.float32)
    by_image: dict[Path, list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        by_image[entry["path"]].append(index)

    def cut(item: tuple[Path, list[int]]) -> None:
        for index, pixels in read_images(item[0], entries, item[1]):
            crops[index], frames[index] = cut_person(pixels, entries[index]["box"], size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in track(pool.map(cut, by_image.items()), "cutting people", total=len(by_image), transient=True):
            pass
    crops.flush()
    names = sorted({entry["group"] for entry in entries})
    images = {name: number for number, name in enumerate(dict.fromkeys(entry["image"] for entry in entries))}
    np.savez(
        path.with_suffix(".npz"), **labels_in_crops(entries, frames),
        group=np.array([names.index(e["group"]) for e in entries], np.int32), groups=np.array(names),
        image=np.array([images[e["image"]] for e in entries], np.int32),
    )  # fmt: skip
    temporary.replace(path.with_suffix(".npy"))


def cut_person(
    pixels: NDArray[np.uint8], box: Sequence[float], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cut a person with context.

    Parameters
    ----------
    pixels : (h, w, 3) uint8 BGR
    box : x, y, width and height of the person, pixels
    size : S, pixels of the crop

    Returns
    -------
    crop : (S, S, 3) uint8 BGR, mid-grey outside the image
    frame : (3,) float32, as in `People`
    """
    x, y, w, h = box
    side = max(8, round(CONTEXT * max(w, h)))
    corner = (round(x + w / 2 - side / 2), round(y + h / 2 - side / 2))
    return crop_roi(pixels, corner, side, size), np.array((*corner, side / size), np.float32)


def labels_in_crops(entries: Sequence[Mapping[str, Any]], frames: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Bring the labels of N entries into their crops.

    Parameters
    ----------
    entries : of `entries_of`
    frames : (N, 3) float32, of `cut_person`

    Returns
    -------
    dict
        `joints`, `known`, `absent`, `extent`, `image_box` and `frame`, as in `People`.
    """
    limits = np.array([(0, 0, *e["size"]) for e in entries], np.float32)
    # cv2 resizes by pixel areas: the middle of the first pixel is at 0.5, labels count it as 0
    joints = np.stack([e["joints"] for e in entries]) + 0.5
    joints = (joints - frames[:, None, :2]) / frames[:, None, 2:] - 0.5
    return {
        "joints": joints.astype(np.float32), "known": np.stack([e["known"] for e in entries]),
        "absent": np.stack([e["absent"] for e in entries]), "frame": frames,
        "extent": np.array([e["box"][2:] for e in entries], np.float32) / frames[:, 2:],
        "image_box": (limits - np.tile(frames[:, :2], 2)) / frames[:, 2:],
    }  # fmt: skip


def read_images(
    path: Path, entries: Sequence[Mapping[str, Any]], indices: list[int]
) -> list[tuple[int, NDArray[np.uint8]]]:
    """Decode a photo, or the wanted frames of a video in one pass, for the entries that need them.

    Returns
    -------
    list of (index, (h, w, 3) uint8 BGR)

    Raises
    ------
    SourceNotFound
        If the photo cannot be decoded, or the video ends early.
    """
    if path.suffix not in VIDEOS:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise SourceNotFound(f"{path} cannot be decoded")
        return [(index, np.asarray(pixels, np.uint8)) for index in indices]
    wanted: dict[int, list[int]] = defaultdict(list)
    for index in indices:
        wanted[int(entries[index]["frame"])].append(index)
    clip, found = cv2.VideoCapture(str(path)), []
    for number in range(max(wanted) + 1):
        if not clip.grab():
            raise SourceNotFound(f"{path} ends early", expected=f"frame {max(wanted)}", found=f"{number} frames")
        if number in wanted:
            pixels = np.asarray(clip.retrieve()[1], np.uint8)
            found += [(index, pixels) for index in wanted[number]]
    clip.release()
    return found
