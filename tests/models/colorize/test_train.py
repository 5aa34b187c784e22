"""A short real training: it learns, writes what it should, and goes on where it stopped."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.colorize.labels import of_folders
from steadyframe.models.colorize.net import ColorizerOptions
from steadyframe.models.colorize.train import ColorizeOptions, ColorizeTrainer
from steadyframe.models.commands import train
from steadyframe.models.data import BatchSource, PhotoCrops, find_photos, prefix_weights
from steadyframe.models.training import LoopOptions
from steadyframe.runtime.errors import BundleError, SourceNotFound, UsageError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


@pytest.fixture(scope="module")
def photos(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for path in sorted((data_root / "photos" / "val").iterdir())[::16]:
        shutil.copy(path, folder)
    return folder


def run(*words: object) -> str:
    done = CliRunner().invoke(train, ["colorize", *(str(word) for word in words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def _log(out: Path) -> EventAccumulator:
    events = EventAccumulator(str(out / "log"))
    events.Reload()
    return events


def test_training_learns_and_resumes(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    fixed = ("--data", photos, "--val", photos, "--out", out, "--width", 0.125, "--batch", 8)
    run(*fixed, "--steps", 4, "--validate-every", 4)
    first = Checkpoint.load(out / "last.pt", task="colorize")
    said = run(*fixed, "--steps", 40, "--validate-every", 40, "--learning-rate", 0.001)
    second = Checkpoint.load(out / "last.pt", task="colorize")
    assert (first.step, second.step) == (4, 40)
    assert second.seconds > first.seconds
    assert "resumed" in said
    assert "learning_rate 0.001 (was 0.002)" in said
    assert "batch_size" not in said
    losses = [event.value for event in _log(out).Scalars("train/loss")]
    assert np.mean(losses[-4:]) < np.mean(losses[:2])  # a single batch says little
    assert second.config["net"]["width"] == 0.125
    sheets = sorted((out / "sheets").glob("*.png"))
    assert [int(path.stem) for path in sheets] == [4, 40]
    assert cv2.imread(str(sheets[0])) is not None
    shown = _log(out).Images("val/sheet")
    assert [image.step for image in shown] == [4, 40]
    assert (shown[0].height, shown[0].width) == cv2.imread(str(sheets[0])).shape[:2]
    for word in (str(out / "last.pt"), str(out / "sheets"), "steadyframe export"):
        assert word in said.replace("\n", " ")


def test_learning_rate_of_a_resumed_run_is_the_one_given(photos: Path, tmp_path: Path) -> None:
    fixed = ("--data", photos, "--val", photos, "--out", tmp_path / "run", "--width", 0.125, "--batch", 4)
    run(*fixed, "--steps", 2, "--learning-rate", 0.002)
    run(*fixed, "--steps", 4, "--learning-rate", 0.0005)
    (group,) = Checkpoint.load(tmp_path / "run" / "last.pt").training["optimizer"]["param_groups"]
    assert group["initial_lr"] == 0.0005
    assert group["lr"] <= 0.0005


@pytest.mark.parametrize("options", [("--head", "mean", "--fusion", "sigmoid", "--noise", "nah"), ()])
def test_training_starts_from_another_network(photos: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    fixed = ("--data", photos, "--val", photos, "--batch", 4)
    run(*fixed, "--out", tmp_path / "old", "--width", 0.125, "--steps", 2)
    run(*fixed, "--out", tmp_path / "new", "--width", 0.25, "--steps", 1, "--crop", 64, "--last-crop", 64,
        "--learning-rate", 1e-9, "--start", tmp_path / "old" / "last.pt", *options)  # fmt: skip
    old, new = (Checkpoint.load(tmp_path / name / "last.pt") for name in ("old", "new"))
    assert new.config["start"] == "last.pt"
    name = "low_level.0.0.weight"
    torch.testing.assert_close(new.training["net"][name][:8], old.weights[name])


def test_crops_grow_for_the_last_part_of_the_run(photos: Path, tmp_path: Path) -> None:
    net = ColorizerOptions(width=0.125)
    options = ColorizeOptions(
        net=net, data=(photos,), val=photos, cache=tmp_path, batch_size=2, crop=64, last_crop=96
    )
    trainer = ColorizeTrainer(options, LoopOptions(out=tmp_path, steps=10))
    seen = []
    trainer.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    for step in range(10):
        trainer.losses(step)
    assert seen == [64] * 6 + [96] * 4


def test_a_run_does_not_go_on_with_another_network(photos: Path, tmp_path: Path) -> None:
    fixed = ("--data", photos, "--val", photos, "--batch", 4, "--out", tmp_path / "run", "--steps", 1)
    run(*fixed, "--width", 0.125)
    with pytest.raises(BundleError, match="cannot go on with these options"):
        run(*fixed, "--width", 0.25)


def test_interrupted_training_saves_and_says_how_to_go_on(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = (
        "colorize", "--data", photos, "--val", photos, "--out", out, "--width", 0.125, "--batch", 4,
        "--crop", 64, "--last-crop", 64, "--steps", 100_000, "--validate-every", 1,
    )  # fmt: skip
    program = "import sys; from steadyframe.models.commands import train; train(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *(str(word) for word in command)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list((out / "sheets").glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1].replace("\n", " ")
    assert process.returncode == 0, said
    assert "stopped at step" in said
    assert "the same command again" in said
    saved = Checkpoint.load(out / "last.pt")
    assert 0 < saved.step < 100_000
    assert saved.training["optimizer"]["state"]


def test_photos_are_found_or_missed_aloud(photos: Path, tmp_path: Path) -> None:
    assert len(find_photos([photos])) == len(list(photos.iterdir()))
    with pytest.raises(SourceNotFound, match="no photos"):
        find_photos([tmp_path])
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    with pytest.raises(SourceNotFound, match="could be decoded"):
        PhotoCrops.of_folders([tmp_path], side=64, cache=tmp_path / "cache")


def test_long_photos_give_a_crop_from_each_end(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 255, 128, dtype=np.uint8)[None, :, None], 32, 0).repeat(3, 2)
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp)
    crops = PhotoCrops.of_folders([tmp_path], side=32, cache=tmp_path / "cache")
    assert crops.names == (f"{tmp_path.name}/ramp.png",) * 2
    assert np.array_equal(crops.pixels[0], ramp[:, :32])
    assert np.array_equal(crops.pixels[1], ramp[:, -32:])
    batch, indices = BatchSource(crops.pixels, batch_size=4, device="cpu", weights=np.array([0.0, 1.0])).draw()
    assert batch.shape == (4, 3, 32, 32)
    assert set(indices.tolist()) == {1}


def test_folders_are_classes(tmp_path: Path) -> None:
    for folder, count in (("beach", 1), ("attic", 2)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            cv2.imwrite(str(tmp_path / folder / f"{i}.png"), np.full((32, 32, 3), 90, np.uint8))
    crops = PhotoCrops.of_folders([tmp_path], side=32, cache=tmp_path / "cache")
    assert of_folders(crops).tolist() == [[1, 0], [1, 0], [0, 1]]
    assert prefix_weights(crops.names, {"1": 3.0}).tolist() == [1.0, 3.0, 1.0]
    with pytest.raises(UsageError, match="one folder"):
        of_folders(PhotoCrops.of_folders([tmp_path / "attic"], side=32, cache=tmp_path / "cache"))


def test_checkpoints_are_data_and_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    Checkpoint(task="colorize", config={"net": {}}, weights={}).save(path)
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(BundleError, match="another task"):
        Checkpoint.load(path, task="pose")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BundleError, match="cannot be read"):
        Checkpoint.load(path)
    with pytest.raises(BundleError, match="no checkpoint"):
        Checkpoint.load(tmp_path / "none.pt")
