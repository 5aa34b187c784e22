"""Whole photos with everybody in them labelled, and photos with nobody.

Owns reading `whole_*.json` and the cache of letterboxed photos. Some boxes are `ignored`: somebody may be there, and
a network is neither rewarded nor punished for saying so.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import SourceNotFound
from ...runtime.image import crop_roi
from .people import RULES, tight_box

SIDE = 288  # pixels of a letterboxed photo
PEOPLE, IGNORED = 10, 16  # boxes of each kind that are kept of a photo, the largest ones


@dataclass(frozen=True, slots=True)
class Photos:
    """N photos, each letterboxed into a square image.

    Parameters
    ----------
    images : (N, S, S, 3) uint8 BGR, mid-grey outside the image
    boxes : (N, K, 4) float32 centre x, y, width, height of people, pixels of that image; width 0 where there is none
    ignored : (N, L, 4) likewise, of places where somebody may be
    nobody : (N,) bool, nobody is there for certain; crowd : (N,) bool, more people than labelled
    photo_box : (N, 4) float32, left, top, right and bottom of the photo in that image
    group : (N,) str, the first part of the file's name
    """

    images: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    ignored: NDArray[np.float32]
    nobody: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    photo_box: NDArray[np.float32]
    group: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)


def load_photos(labels: Path, *, root: Path, cache: Path) -> Photos:
    """Read a label file of whole photos; photos with neither sure people nor `nobody` are left out.

    Raises
    ------
    SourceNotFound
        If the label file or a photo is missing.
    """
    if not labels.is_file():
        raise SourceNotFound(f"There is no label file {labels}", expected="whole photos, COCO-keypoints JSON")
    stamp = hashlib.sha256(repr((labels.name, labels.stat().st_size, SIDE, PEOPLE, IGNORED, RULES)).encode())
    path = cache / f"photos-{SIDE}-{stamp.hexdigest()[:16]}"
    if not path.with_suffix(".npy").exists():
        _write(path, labels, root)
    small = np.load(path.with_suffix(".npz"))
    images = np.load(path.with_suffix(".npy"))
    return Photos(images, **{name: small[name] for name in small.files})


def _write(path: Path, labels: Path, root: Path) -> None:
    content = json.loads(labels.read_text())
    people: dict[int, list[dict[str, Any]]] = {}
    for person in content["annotations"]:
        people.setdefault(person["image_id"], []).append(person)
    kept = [i for i in content["images"] if i["nobody"] or any(p.get("sure") for p in people.get(i["id"], []))]

    def letterboxed(image: dict[str, Any]) -> tuple[NDArray[np.uint8], float, NDArray[np.float64]]:
        pixels = cv2.imread(str(root / image["file_name"]), cv2.IMREAD_COLOR)
        if pixels is None:
            raise SourceNotFound(f"{root / image['file_name']} cannot be read")
        side = max(pixels.shape[:2])
        corner = ((pixels.shape[1] - side) // 2, (pixels.shape[0] - side) // 2)
        image = crop_roi(np.asarray(pixels, np.uint8), corner, side, SIDE)
        return image, SIDE / side, np.array(corner, np.float64)

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(letterboxed, kept))
    boxes = np.zeros((len(kept), PEOPLE, 4), np.float32)
    ignored = np.zeros((len(kept), IGNORED, 4), np.float32)
    photo_box = np.zeros((len(kept), 4), np.float32)
    for n, (image, (_, scale, corner)) in enumerate(zip(kept, found, strict=True)):
        sides = np.tile(corner, 2)
        photo_box[n] = (np.array([0, 0, image["width"], image["height"]]) - sides) * scale
        sure = [_box(p, (image["width"], image["height"])) for p in people.get(image["id"], []) if p.get("sure")]
        unsure = [p["bbox"] for p in people.get(image["id"], []) if not p.get("sure")]
        for rows, store in ((sure, boxes), (unsure, ignored)):
            largest = sorted(rows, key=lambda b: -max(b[2:]))[: store.shape[1]]
            for k, (x, y, w, h) in enumerate(largest):
                centre = ((x + w / 2 - corner[0]) * scale, (y + h / 2 - corner[1]) * scale)
                store[n, k] = (*centre, w * scale, h * scale)
    path.parent.mkdir(parents=True, exist_ok=True)
    group = np.array([Path(i["file_name"]).name.split("_")[0] for i in kept])
    np.savez(
        path.with_suffix(".npz"), boxes=boxes, ignored=ignored, photo_box=photo_box, group=group,
        nobody=np.array([bool(i["nobody"]) for i in kept]), crowd=np.array([bool(i.get("crowd")) for i in kept]),
    )  # fmt: skip
    temporary = path.with_suffix(".tmp.npy")
    np.save(temporary, np.stack([image for image, _, _ in found]))
    temporary.replace(path.with_suffix(".npy"))


def _box(person: dict[str, Any], size_wh: tuple[int, int]) -> list[float]:
    """Give x, y, width and height around the joints inside the image, as close looks at run time are centred."""
    marks = np.array(person["keypoints"], np.float32).reshape(-1, 3)
    return tight_box(marks[marks[:, 2] > 0, :2], size_wh) or list(person["bbox"])
