"""A small data folder with the real one's layout: some labelled people, their pictures, photos without people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PHOTOS = 6


def subset(source: Path, target: Path, names: list[str], each: int) -> None:
    """Write a label file with only the first `each` people whose picture's name contains each of some words."""
    content = json.loads(source.read_text())
    images = {image["id"]: image for image in content["images"]}
    kept = []
    for word in names:
        kept += [a for a in content["annotations"] if word in images[a["image_id"]]["file_name"]][:each]
    content["annotations"] = kept
    content["images"] = [images[a["image_id"]] for a in kept]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def pose_data(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data folder; pictures are links to the real ones."""
    root = tmp_path_factory.mktemp("pose-data")
    for name in ("train", "val"):
        subset(data_root / f"pose/lspet/{name}.json", root / f"pose/lspet/{name}.json", ["im"], 6)
    (root / "pose/lspet/images").symlink_to(data_root / "pose/lspet/images")
    pseudo = data_root / "pose/pseudo"
    subset(
        pseudo / "videos.json", root / "pose/pseudo/videos.json", ["bedroom", "webcam_brother", "webcam_hungry"], 2
    )
    subset(pseudo / "photos.json", root / "pose/pseudo/photos.json", ["train/ccp", "train/osie", "photos/val"], 3)
    (root / "videos").symlink_to(data_root / "videos")
    for folder in ("train", "val"):
        (root / "photos" / folder).mkdir(parents=True)
        for path in (data_root / "photos" / folder).iterdir():
            if path.name.startswith(("ccp", "osie")):
                (root / "photos" / folder / path.name).symlink_to(path)
    for path in sorted((data_root / "photos/train").glob("houses*"))[:PHOTOS]:
        (root / "photos/train" / path.name).symlink_to(path)
    return root
