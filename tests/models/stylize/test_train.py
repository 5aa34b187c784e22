"""The trainer on real photos, a real clip and a real teacher: a few steps, then the checkpoint runs."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from steadyframe.models.shards import convert
from steadyframe.models.stylize.backbone import Teacher
from steadyframe.models.stylize.clips import SIZE_WH, ClipSource, clip_cache, find_clips
from steadyframe.models.stylize.motion import warp
from steadyframe.models.stylize.scenes import LiveScenes, SceneOptions, ScenePool
from steadyframe.models.stylize.targets import TeacherTarget, read_painting
from steadyframe.models.stylize.train import UNROLL, TrainOptions, command, load_net
from steadyframe.runtime.errors import SourceNotFound


@pytest.fixture(scope="module")
def small_data(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with eight photos, one clip to train on and one to measure on."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "photos" / "train").mkdir(parents=True)
    for photo in sorted((data_root / "photos" / "val").glob("osie*"))[:8]:
        shutil.copy(photo, folder / "photos" / "train")
    (folder / "videos").mkdir()
    for clip in ("webcam_help.mkv", "webcam_bird.mkv"):
        shutil.copy(data_root / "videos" / clip, folder / "videos")
    return folder


def train(style: Path, data: Path, out: Path, data_root: Path, *more: str) -> None:
    backbone = data_root / "teachers" / "perceptual" / "darknet_tiny.onnx"
    words = [
        "--style", style, "--data", data, "--backbone", backbone, "--out", out, "--cache", out.parent / "cache",
        "--batch", 2, "--clips", 1, "--size", 64, "--device", "cpu", "--steps", 3, "--validate-every", 3, *more,
    ]  # fmt: skip
    done = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_trains_from_a_teacher_and_leaves_a_checkpoint(small_data: Path, data_root: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    train(data_root / "teachers" / "style" / "udnie.onnx", small_data, tmp_path / "run", data_root)
    net = load_net(tmp_path / "run" / "udnie.pt")
    with torch.no_grad():
        styled = net(torch.rand(1, 3, 64, 64), torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
    assert torch.isfinite(styled).all()
    sheet = cv2.imread(str(next((tmp_path / "run" / "sheets").glob("*.png"))))
    assert sheet is not None and sheet.std() > 10
    assert torch.load(tmp_path / "run" / "udnie.pt", weights_only=True)["training"] == {}


def test_trains_from_a_painting_by_name_of_file(small_data: Path, data_root: Path, tmp_path: Path) -> None:
    painting = data_root / "styles" / "starry_night.jpg"
    train(painting, small_data, tmp_path / "run", data_root, "--style-size", "64", "--clips", "0")
    assert (tmp_path / "run" / "starry_night.pt").exists()


def test_photos_come_from_shards(small_data: Path, data_root: Path, tmp_path: Path) -> None:
    convert([small_data / "photos"], tmp_path / "shards", per_shard=3)
    teacher = data_root / "teachers" / "style" / "udnie.onnx"
    train(teacher, tmp_path / "shards", tmp_path / "run", data_root, "--clips", "0")
    assert (tmp_path / "run" / "udnie.pt").exists()


def test_a_pool_keeps_scenes_and_the_teachers_images(small_data: Path, data_root: Path, tmp_path: Path) -> None:
    teacher = data_root / "teachers" / "style" / "udnie.onnx"
    train(teacher, small_data, tmp_path / "run", data_root, "--pool", "6")
    assert (tmp_path / "run" / "udnie.pt").exists()
    folder = next((tmp_path / "cache").glob("scenes-*"))
    last = np.load(folder / "frames.npy")[:, -1]
    assert last.shape == (6, 64, 64, 3) and last.std() > 10
    expected = Teacher(teacher)(torch.from_numpy(last).permute(0, 3, 1, 2).float() / 255)
    kept = torch.from_numpy(np.load(folder / "images-udnie.npy")).permute(0, 3, 1, 2).float() / 255
    assert (kept - expected).abs().mean() < 0.01

    scenes = SceneOptions(
        photos=(small_data,),
        clips=find_clips([small_data]),
        cache=tmp_path / "cache",
        batch_size=6,
        size=64,
        num_clips=3,
    )
    live = LiveScenes(scenes, device="cpu", seed=0)
    pool = ScenePool(live, TeacherTarget(Teacher(teacher), None), name="udnie", count=6, length=4, seed=0)
    drawn, images = pool.draw(3)
    assert drawn.frames.shape == (3, 6, 3, 64, 64) and images.shape == (6, 3, 64, 64)
    for t in range(2):
        mask = drawn.masks[t] > 0.99
        off = (warp(drawn.frames[t], drawn.flows[t]) - drawn.frames[t + 1]).abs().mean(1, keepdim=True)
        assert off[mask].mean() < 0.05 and mask.float().mean() > 0.3


def test_the_run_up_is_as_long_as_the_schedule_says() -> None:
    """A pool shorter than the longest run-up would cap it without a word."""
    longest = max(frames for _, frames in UNROLL)
    assert longest == 8
    assert {field.name: field.default for field in fields(TrainOptions)}["pool_length"] == longest + 1


def test_a_style_that_is_nowhere_is_refused(small_data: Path, tmp_path: Path) -> None:
    words = ["--style", "mondrian", "--data", str(small_data), "--out", str(tmp_path / "run")]
    with pytest.raises(SourceNotFound, match="mondrian"):
        CliRunner().invoke(command, words, catch_exceptions=False)
    (tmp_path / "note.jpg").write_text("no image")
    with pytest.raises(SourceNotFound, match="is no image"):
        read_painting(tmp_path / "note.jpg", 64)


def test_the_cached_flow_leads_from_each_frame_to_the_one_before(small_data: Path, tmp_path: Path) -> None:
    paths = [small_data / "videos" / "webcam_help.mkv"]
    cache = clip_cache(paths, frames=5, cache=tmp_path)
    assert cache.starts == {"webcam_help": (0, 5)}
    assert cache.frames.shape == (5, SIZE_WH[1], SIZE_WH[0], 3) and cache.frames.dtype == np.uint8
    assert clip_cache(paths, frames=5, cache=tmp_path).frames.filename == cache.frames.filename
    clip = ClipSource(cache, device="cpu", seed=1).draw(2, 4, 256)
    assert clip.frames.shape == (4, 2, 3, 256, 256) and clip.masks.shape == (3, 2, 1, 256, 256)
    for t in range(3):
        followed = (warp(clip.frames[t], clip.flows[t]) - clip.frames[t + 1]).abs() * clip.masks[t]
        left_alone = (clip.frames[t] - clip.frames[t + 1]).abs() * clip.masks[t]
        assert followed.mean() < 0.02
        assert followed.mean() <= left_alone.mean() * 1.05


def test_clips_that_cannot_be_decoded_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(SourceNotFound, match="clips"):
        clip_cache([tmp_path / "broken.mp4"], frames=5, cache=tmp_path / "cache")
