"""Shards hold the photos of the folders, and trainers learn from them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from steadyframe.models import shards_command
from steadyframe.models.colorize import train as colorize
from steadyframe.models.data import photo_crops
from steadyframe.models.pose.augment import Cropper
from steadyframe.models.pose.people import load_people
from steadyframe.models.pose.shards import PeopleStream, convert_people
from steadyframe.models.pose.skeleton import SKELETONS
from steadyframe.models.shards import ShardSet, ShardSource, convert, is_shards
from steadyframe.runtime.errors import SinkError, SourceError, SourceNotFound, UsageError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Fourteen photos of two classes, two files that are none, and an empty one."""
    random = np.random.default_rng(0)
    for number in range(14):
        folder = tmp_path / "photos" / ("beach", "forest")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (6, 9, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, (240, 200), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"photo.{number}.{'png' if number == 3 else 'jpg'}"), pixels)
    (tmp_path / "photos" / "beach" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    (tmp_path / "photos" / "forest" / "empty.png").touch()
    return tmp_path / "photos"


def test_the_converter_keeps_files_and_says_what_it_skipped(photos, tmp_path):
    words = [str(photos), "-o", str(tmp_path / "shards"), "--per-shard", "5"]
    ran = CliRunner().invoke(shards_command.command, words)
    assert ran.exit_code == 0, ran.output
    assert "14 photos in 3 shards, 2 classes; 2 skipped" in ran.stderr
    skipped = [json.loads(line) for line in (tmp_path / "shards" / "skipped.jsonl").read_text().splitlines()]
    assert {(Path(one["photo"]).name, one["reason"]) for one in skipped} == {
        ("broken.jpg", "it cannot be decoded"), ("empty.png", "the file is empty"),
    }  # fmt: skip
    stored = {}
    for path in sorted((tmp_path / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            stored |= {name: tar.extractfile(name).read() for name in tar.getnames()}
    contents = sorted(content for name, content in stored.items() if not name.endswith(".cls"))
    assert contents == sorted(path.read_bytes() for path in photos.rglob("photo*"))
    assert is_shards(tmp_path / "shards") and not is_shards(photos)
    with pytest.raises(SinkError, match="not empty"):
        convert([photos], tmp_path / "shards")


def test_a_source_gives_every_photo_with_its_class(photos, tmp_path):
    found, _ = convert([photos], tmp_path / "shards", per_shard=4)
    source = ShardSource([found], side=64, batch_size=8, device="cpu", seed=3)
    known = {
        crop.tobytes(): path.parent.name for path in photos.rglob("photo*") for crop in photo_crops(path, 64)
    }  # fmt: skip
    seen = set()
    for _ in range(12):
        batch, classes = source.draw()
        assert batch.shape == (8, 3, 64, 64) and batch.dtype == torch.float32
        for image, number in zip(batch, classes, strict=True):
            crop = (image * 255).round().to(torch.uint8).permute(1, 2, 0).flip(-1).contiguous().numpy().tobytes()
            assert known[crop] == found.classes[number]
            seen.add(crop)
    assert len(seen) == len(known)
    again = ShardSource([found], side=64, batch_size=8, device="cpu", seed=3)
    other = ShardSource([found], side=64, batch_size=8, device="cpu", seed=1003)
    first = ShardSource([found], side=64, batch_size=8, device="cpu", seed=3).draw()[0]
    assert torch.equal(again.draw()[0], first) and not torch.equal(other.draw()[0], first)


def test_unwanted_photos_are_left_out(photos, tmp_path):
    found, _ = convert([photos], tmp_path / "shards")
    beach = found.classes.index("beach")
    source = ShardSource(
        [found], side=32, batch_size=6, device="cpu", wanted=lambda crop, name: int(name.split("_")[1]) % 2 == 0
    )
    assert (source.draw()[1] == beach).all()


def test_damage_is_reported(photos, tmp_path):
    found, _ = convert([photos], tmp_path / "shards")
    content = found.shards[0].read_bytes()
    found.shards[0].write_bytes(b"\xff" * len(content))
    with pytest.raises(SourceError, match="A shard cannot be read"):
        ShardSource([found], side=32, batch_size=2, device="cpu").draw()
    found.shards[0].unlink()
    with pytest.raises(SourceNotFound, match="are missing"):
        ShardSet.of_folder(tmp_path / "shards")
    with pytest.raises(SourceNotFound, match="None of the photos could be written"):
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "a.jpg").write_text("no photo")
        convert([tmp_path / "bad"], tmp_path / "none")


def test_the_colorizer_learns_from_shards(photos, tmp_path):
    convert([photos], tmp_path / "shards", per_shard=5)
    (photos / "beach" / "broken.jpg").unlink()
    (photos / "forest" / "empty.png").unlink()
    more = "--width 0.125 --steps 3 --batch 4 --crop 64 --last-crop 64 --no-bf16 --device cpu --class-folders"
    words = f"--data {tmp_path / 'shards'} --val {photos} --out {tmp_path / 'run'} {more}".split()
    ran = CliRunner().invoke(colorize.command, words, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    content = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert content["step"] == 3 and content["config"]["net"]["classes"] == 2
    with pytest.raises(UsageError, match="from folders or from shards"):
        CliRunner().invoke(
            colorize.command, [*words, "--data", str(photos)], catch_exceptions=False
        )  # fmt: skip


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A label file of twelve people on six photos, one of which is not there and one broken."""
    random = np.random.default_rng(1)
    joints = [*SKELETONS["COCO-17"].joints]
    (tmp_path / "images").mkdir()
    images, people = [], []
    for number in range(6):
        pixels = cv2.resize(random.integers(0, 256, (6, 8, 3), dtype=np.uint8), (160, 120))
        name = f"street_{number}.png"
        if number == 4:
            (tmp_path / "images" / name).write_bytes(b"no photo")
        elif number != 5:
            cv2.imwrite(str(tmp_path / "images" / name), pixels)
        images.append({"id": number, "file_name": name, "width": 160, "height": 120})
        for left in (20, 90):
            x, y = random.uniform(left, left + 40, 17), random.uniform(20, 100, 17)
            marks = np.column_stack((x, y, np.full(17, 2))).ravel().tolist()
            people.append({"id": len(people), "image_id": number, "bbox": [left, 20, 40, 80], "keypoints": marks})
    content = {"images": images, "annotations": people, "categories": [{"keypoints": joints}]}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    return tmp_path / "labels.json"


def test_people_go_into_shards_and_come_out_as_from_the_label_file(labelled, tmp_path):
    words = [str(tmp_path / "images"), "--people", str(labelled), "-o", str(tmp_path / "shards"), "--per-shard", "3"]
    ran = CliRunner().invoke(shards_command.command, words, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert "8 people in 3 shards; 2 skipped" in ran.stderr
    skipped = [json.loads(line) for line in (tmp_path / "shards" / "skipped.jsonl").read_text().splitlines()]
    assert {Path(one["image"]).name for one in skipped} == {"street_4.png", "street_5.png"}

    content = json.loads(labelled.read_text())
    content["annotations"] = content["annotations"][:8]
    good = labelled.with_name("good.json")
    good.write_text(json.dumps(content))
    skeleton = SKELETONS["union-19"]
    kept = load_people([good], skeleton, root=tmp_path / "images", size=160, cache=tmp_path / "cache")
    stream = PeopleStream([tmp_path / "shards"], skeleton, seed=3, size=160, ring=5)
    seen = set()
    for _ in range(30):
        for place in stream.draw(3):
            joints = stream.people.joints[place]
            same = np.flatnonzero(np.abs(kept.joints - joints).max((1, 2)) < 1e-3)
            assert len(same) == 1
            seen.add(int(same[0]))
            for name in ("known", "absent", "extent", "image_box", "frame"):
                here, there = getattr(stream.people, name)[place], getattr(kept, name)[same[0]]
                np.testing.assert_allclose(here, there, atol=1e-3)
            apart = stream.people.crops[place].astype(float) - kept.crops[same[0]]
            assert np.abs(apart).mean() < 4  # a JPEG, cut twice as large
    assert seen == set(range(8))
    with pytest.raises(SourceNotFound, match="cannot be read"):
        PeopleStream([tmp_path / "images"], skeleton, seed=0)


def test_a_crop_of_streamed_people_has_their_joints(labelled, tmp_path):
    convert_people([labelled], tmp_path / "shards", roots=[tmp_path / "images"])
    skeleton = SKELETONS["union-19"]
    stream = PeopleStream([tmp_path / "shards"], skeleton, seed=0)
    cropper = Cropper(stream.people, skeleton, np.random.default_rng(0))
    samples = [cropper.random(int(place), 64, wild=False) for _ in range(3) for place in stream.draw(4)]
    assert all(sample.image.shape == (64, 64, 3) for sample in samples)
    assert sum(sample.shown.sum() for sample in samples) > 50
