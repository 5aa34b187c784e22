"""A small data folder with the real one's layout: some labelled people, their images, photos without people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PHOTOS = 6


def subset(source: Path, target: Path, names: list[str], each: int) -> None:
    """Write a label file with only the first `each` people whose image's name contains each of some words."""
    content = json.loads(source.read_text())
    images = {image["id"]: image for image in content["images"]}
    kept = []
    for word in names:
        kept += [a for a in content["annotations"] if word in images[a["image_id"]]["file_name"]][:each]
    content["annotations"] = kept
    content["images"] = [images[a["image_id"]] for a in kept]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content))


def opinions(source: Path, target: Path, older: Path) -> None:
    """Write the teacher's opinion of the people of a label file that was made smaller."""
    content, kept = json.loads(source.read_text()), json.loads(older.read_text())
    people, images = ({entry["id"] for entry in kept[name]} for name in ("annotations", "images"))
    content["annotations"] = [a for a in content["annotations"] if a["id"] in people]
    content["images"] = [i for i in content["images"] if i["id"] in images]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content))


def whole(source: Path, target: Path, names: tuple[str, ...], each: int) -> None:
    """Write a label file of whole photos: of each kind a few with sure people and a few with nobody."""
    content = json.loads(source.read_text())
    sure = {a["image_id"] for a in content["annotations"] if a.get("sure")}
    kept = []
    for name in names:
        here = [i for i in content["images"] if f"/{name}" in i["file_name"]]
        kept += [i for i in here if i["nobody"]][:each] + [i for i in here if i["id"] in sure][:each]
    ids = {i["id"] for i in kept}
    content |= {"images": kept, "annotations": [a for a in content["annotations"] if a["image_id"] in ids]}
    target.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def pose_data(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data folder; images are links to the real ones."""
    root = tmp_path_factory.mktemp("pose-data")
    for name in ("train", "val"):
        subset(data_root / f"pose/lspet/{name}.json", root / f"pose/lspet/{name}.json", ["im"], 6)
    (root / "pose/lspet/images").symlink_to(data_root / "pose/lspet/images")
    pseudo = data_root / "pose/pseudo"
    subset(
        pseudo / "videos.json", root / "pose/pseudo/videos.json", ["bedroom", "webcam_brother", "webcam_hungry"], 2
    )
    subset(pseudo / "photos.json", root / "pose/pseudo/photos.json", ["train/ccp", "train/osie", "photos/val"], 3)
    teacher = data_root / "pose/teacher"
    for name, older in (
        ("lspet_train", "lspet/train"),
        ("pseudo_videos", "pseudo/videos"),
        ("pseudo_photos", "pseudo/photos"),
    ):
        opinions(teacher / f"{name}.json", root / f"pose/teacher/{name}.json", root / f"pose/{older}.json")
    for name in ("people_train", "people_val"):
        subset(teacher / f"{name}.json", root / f"pose/teacher/{name}.json", ["flickr", "street"], 3)
    (root / "pose/teacher/images").symlink_to(teacher / "images")
    whole(teacher / "whole_train.json", root / "pose/teacher/whole_train.json", ("ccp", "osie"), 4)
    (root / "videos").symlink_to(data_root / "videos")
    for folder in ("train", "val"):
        (root / "photos" / folder).mkdir(parents=True)
        for path in (data_root / "photos" / folder).iterdir():
            if path.name.startswith(("ccp", "osie")):
                (root / "photos" / folder / path.name).symlink_to(path)
    for path in sorted((data_root / "photos/train").glob("houses*"))[:PHOTOS]:
        (root / "photos/train" / path.name).symlink_to(path)
    return root
