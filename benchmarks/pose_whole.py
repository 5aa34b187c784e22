"""Finding people in whole photos: OKS-AP, share of people found, and phantoms in photos without people.

A bundle is run as a user runs it on independent images. The photos are those of `pose_whole_split.json`, which no
training sees; labels are the teacher's (pseudo-labels, not truth); whoever the teacher is unsure of is neither
rewarded nor punished. Found: a person with OKS of at least 0.5. Intervals are a bootstrap over photos. Usage::

    python benchmarks/pose_whole.py ../shared/data [--bundle pose] [--set birth_presence=0.5] [--curve]
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from steadyframe.models.pose.metrics import oks_average_precision
from steadyframe.runtime.bundle.bundle import Bundle

import steadyframe as sf

SPLIT = Path(__file__).with_name("pose_whole_split.json")
LARGE = 0.05  # of the photo's area: people smaller than this are not counted as missed
FOUND_OKS = 0.5
SIGMAS = 2 * np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000  # COCO's
DRAWS = 500


def truth(data: Path) -> dict[str, Any]:
    """Read the labels of the split; unsure joints are unlabelled, unsure people are crowd."""
    content = json.loads((data / "pose/teacher/whole_val.json").read_text())
    wanted = set(json.loads(SPLIT.read_text())["people"]) | set(json.loads(SPLIT.read_text())["nobody"])
    images = [image for image in content["images"] if image["file_name"] in wanted]
    ids = {image["id"] for image in images}
    people = []
    for person in content["annotations"]:
        if person["image_id"] not in ids:
            continue
        marks = np.array(person.get("keypoints") or [0] * 51, float).reshape(-1, 3)
        marks[marks[:, 2] < 2] = 0
        sure = bool(person.get("sure"))
        marks[:, 2] *= sure
        people.append(
            person | {"keypoints": marks.ravel().tolist(), "num_keypoints": int((marks[:, 2] > 0).sum()),
                      "iscrowd": int(not sure)}
        )  # fmt: skip
    return {"images": images, "annotations": people, "categories": content["categories"]}


def similarity(found: np.ndarray, person: dict[str, Any]) -> float:
    """Object keypoint similarity of (17, 2) joints with a labelled person."""
    marks = np.array(person["keypoints"]).reshape(-1, 3)
    seen = marks[:, 2] > 0
    distance = ((found[seen] - marks[seen, :2]) ** 2).sum(1)
    return float(np.exp(-distance / (2 * SIGMAS[seen] ** 2 * (person["area"] + 1e-9))).mean())


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--bundle", default="pose", show_default=True)
@click.option("--set", "settings", multiple=True, metavar="NAME=NUMBER", help="Override a setting.")
@click.option("--curve", is_flag=True, help="Also over thresholds of a person's score.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Image with the people who were found.")
def main(data: Path, bundle: str, settings: tuple[str, ...], curve: bool, sheet: Path | None) -> None:
    """Measure a pose bundle on whole photos."""
    loaded, labels = Bundle.load(bundle), truth(data)
    options: dict[str, Any] = {name: float(value) for name, value in (word.split("=") for word in settings)}
    if curve:
        options["birth_presence"] = options["keep_presence"] = 0.2
    processor = sf.open_processor(loaded, steady="off", options=options)
    place = [loaded.manifest.skeleton.joints.index(name) for name in labels["categories"][0]["keypoints"]]
    detections, tiles, spent = [], [], 0.0
    for image in labels["images"]:
        pixels = cv2.imread(str(data / image["file_name"]))
        begun = time.process_time()
        (result,) = processor.process(sf.Frame(pixels, independent=True))
        people = result.output
        spent += time.process_time() - begun
        for person in people.people:
            flat = np.column_stack((person.keypoints[place, :2], np.ones(17))).ravel().tolist()
            detections.append({"image_id": image["id"], "category_id": 1, "keypoints": flat, "score": person.score})
        if sheet is not None:
            tiles.append(_tile(people.pixels))
    print(f"{len(labels['images'])} photos, {1000 * spent / len(labels['images']):.0f} ms of processor time each")
    thresholds = np.arange(0.2, 0.9, 0.05) if curve else [0.0]
    for least in thresholds:
        report(labels, [d for d in detections if d["score"] >= least], f"score {least:.2f}  " if curve else "")
    if sheet is not None:
        cv2.imwrite(str(sheet), _grid(tiles, 10))


def report(labels: dict[str, Any], detections: list[dict[str, Any]], title: str) -> None:
    """Print the figures of some detections."""
    by_image: dict[int, list[np.ndarray]] = {}
    for one in detections:
        by_image.setdefault(one["image_id"], []).append(np.array(one["keypoints"]).reshape(-1, 3)[:, :2])
    area = {image["id"]: image["width"] * image["height"] for image in labels["images"]}
    hits: dict[int, list[bool]] = {}
    for person in labels["annotations"]:
        if person["iscrowd"] or person["bbox"][2] * person["bbox"][3] < LARGE * area[person["image_id"]]:
            continue
        best = max((similarity(joints, person) for joints in by_image.get(person["image_id"], [])), default=0.0)
        hits.setdefault(person["image_id"], []).append(best >= FOUND_OKS)
    empty = [len(by_image.get(image["id"], [])) for image in labels["images"] if image["nobody"]]
    peopled = {p["image_id"] for p in labels["annotations"] if not p["iscrowd"]}
    kept = {
        "images": [i for i in labels["images"] if i["id"] in peopled],
        "annotations": [p for p in labels["annotations"] if p["image_id"] in peopled],
        "categories": labels["categories"],
    }
    mine = [d for d in detections if d["image_id"] in peopled]
    precision = oks_average_precision(kept, mine) if mine else 0.0
    shares = list(hits.values())
    total = sum(len(one) for one in shares)
    rng = np.random.default_rng(0)
    draws = [[shares[i] for i in rng.integers(0, len(shares), len(shares))] for _ in range(DRAWS)]
    low, high = np.percentile([np.mean([hit for one in draw for hit in one]) for draw in draws], [2.5, 97.5])
    found = sum(sum(one) for one in shares)
    print(
        f"{title}OKS-AP {precision:.3f}   found {found} of {total}: {found / total:.3f} ({low:.2f} .. {high:.2f})   "
        f"phantoms {sum(empty)} in {len(empty)} photos: {100 * sum(empty) / len(empty):.1f} a hundred"
    )


def _tile(pixels: np.ndarray, side: int = 160) -> np.ndarray:
    """Letterbox an image."""
    scale = side / max(pixels.shape[:2])
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.zeros((side, side, 3), np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small[:side, :side]
    return tile


def _grid(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """Lay tiles in rows."""
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


if __name__ == "__main__":
    main()
