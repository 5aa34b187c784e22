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
from steadyframe.models import shards
from steadyframe.models.colorize import train as colorize
from steadyframe.models.data import photo_crops
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
    ran = CliRunner().invoke(shards.command, [str(photos), "-o", str(tmp_path / "shards"), "--per-shard", "5"])
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
    with pytest.raises(SourceNotFound, match="None of the photos"):
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
