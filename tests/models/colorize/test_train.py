"""A short real training: it learns, writes what it should, and goes on where it stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.colorize.evaluate import PhotoSet, colorfulness, measure_pictures
from steadyframe.models.colorize.labels import of_folders
from steadyframe.models.commands import train
from steadyframe.models.data import BatchSource, Squares, find_photos, prefix_weights
from steadyframe.runtime.errors import BundleError, SourceNotFound, UsageError
from steadyframe.runtime.image import luma
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
    run(*fixed, "--steps", 40, "--validate-every", 40)
    second = Checkpoint.load(out / "last.pt", task="colorize")
    assert (first.step, second.step) == (4, 40)
    assert second.seconds > first.seconds
    losses = [event.value for event in _log(out).Scalars("train/loss")]
    assert losses[-1] < losses[0]
    assert second.config["net"]["width"] == 0.125
    third = tmp_path / "third"
    run(*fixed[:-6], "--out", third, "--width", 0.125, "--batch", 4, "--steps", 1, "--crop", 64, "--noise", "nah",
        "--init", out / "last.pt")  # fmt: skip
    assert Checkpoint.load(third / "last.pt").config["init"] == "last.pt"
    sheets = sorted((out / "sheets").glob("*.png"))
    assert [int(path.stem) for path in sheets] == [4, 40]
    assert cv2.imread(str(sheets[0])) is not None
    assert list((out / "log").iterdir())


def test_photos_are_found_or_missed_aloud(photos: Path, tmp_path: Path) -> None:
    assert len(find_photos([photos])) == len(list(photos.iterdir()))
    with pytest.raises(SourceNotFound, match="no photos"):
        find_photos([tmp_path])
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(SourceNotFound, match="could be decoded"):
        Squares.of_folders([tmp_path], side=64, cache=tmp_path / "cache")


def test_long_photos_give_a_square_from_each_end(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 255, 128, dtype=np.uint8)[None, :, None], 32, 0).repeat(3, 2)
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp)
    squares = Squares.of_folders([tmp_path], side=32, cache=tmp_path / "cache")
    assert squares.names == (f"{tmp_path.name}/ramp.png",) * 2
    assert np.array_equal(squares.pixels[0], ramp[:, :32])
    assert np.array_equal(squares.pixels[1], ramp[:, -32:])
    batch, indices = BatchSource(squares.pixels, batch_size=4, device="cpu", weights=np.array([0.0, 1.0])).draw()
    assert batch.shape == (4, 3, 32, 32)
    assert set(indices.tolist()) == {1}


def test_folders_are_classes(tmp_path: Path) -> None:
    for folder, count in (("beach", 1), ("attic", 2)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            cv2.imwrite(str(tmp_path / folder / f"{i}.png"), np.full((32, 32, 3), 90, np.uint8))
    squares = Squares.of_folders([tmp_path], side=32, cache=tmp_path / "cache")
    assert of_folders(squares).tolist() == [[1, 0], [1, 0], [0, 1]]
    assert prefix_weights(squares.names, {"1": 3.0}).tolist() == [1.0, 3.0, 1.0]
    with pytest.raises(UsageError, match="one folder"):
        of_folders(Squares.of_folders([tmp_path / "attic"], side=32, cache=tmp_path / "cache"))


def test_metrics_know_the_extremes(photos: Path) -> None:
    originals = PhotoSet.of_folder(photos, most=4).photos
    perfect = measure_pictures(originals, lambda pixels: pixels)
    grey = measure_pictures(originals, lambda pixels: np.repeat(luma(pixels)[..., None], 3, axis=2))
    assert perfect == {"mse_to_grey": 0.0, "colorfulness": 1.0}
    assert grey["colorfulness"] == 0.0
    assert grey["mse_to_grey"] == pytest.approx(1.0, abs=5e-3)
    assert colorfulness(np.full((4, 4, 3), 77, np.uint8)) == 0.0


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
