"""The order of frames, their starts and anchors, on a small moving image with the real backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from steadyframe.models.stylize.backbone import load_backbone
from steadyframe.models.stylize.offline.commands import claim, command, read_frames
from steadyframe.models.stylize.offline.flows import MEAN_BGR, Motion, read_flo
from steadyframe.models.stylize.offline.objective import Anchor, Objective, fit_painting
from steadyframe.models.stylize.offline.paint import Painter, PaintOptions
from steadyframe.models.stylize.offline.solver import SolverOptions
from steadyframe.runtime.errors import ShapeMismatch, SourceNotFound, UsageError

QUICK = SolverOptions(iterations=4, interval=4)


@pytest.fixture(scope="module")
def frames(data_root: Path) -> list[NDArray[np.uint8]]:
    """Five frames of a photo that moves by two pixels to the left each time."""
    photo = cv2.imread(str(sorted((data_root / "photos" / "val").glob("osie*"))[3]))
    photo = cv2.resize(photo, (128, 96), interpolation=cv2.INTER_AREA)
    return [np.ascontiguousarray(photo[8:72, 2 * n : 2 * n + 96]) for n in range(5)]


@pytest.fixture(scope="module")
def objective(data_root: Path) -> Objective:
    painting = cv2.imread(str(data_root / "styles" / "starry_night.jpg"))
    painting = fit_painting(painting, (96, 64))
    tensor = torch.from_numpy(painting).permute(2, 0, 1)[None].float() / 255
    return Objective(load_backbone(str(data_root / "teachers" / "perceptual" / "darknet_tiny.onnx")), tensor)


def painter(frames: list[NDArray[np.uint8]], objective: Objective, folder: Path, **options: object) -> Painter:
    chosen = replace(PaintOptions(first=QUICK, later=QUICK), **options)
    return Painter(frames, objective, Motion(frames), chosen, folder)


def test_a_painting_gets_the_area_of_the_frame() -> None:
    fitted = fit_painting(np.zeros((300, 600, 3), np.uint8), (96, 64))
    assert abs(fitted.shape[0] * fitted.shape[1] / (96 * 64) - 1) < 0.05
    assert abs(fitted.shape[1] / fitted.shape[0] - 2) < 0.1


def test_the_motion_is_found_and_unknown_pixels_get_the_mean_color(frames: list[NDArray[np.uint8]]) -> None:
    motion = Motion(frames)
    inner = motion.vectors(1, 0)[16:-16, 16:-16]
    assert np.abs(inner - (2, 0)).mean() < 0.2
    propagated = motion.propagate(frames[0] / np.float32(255), 0, 1)
    assert np.allclose(propagated[20:40, -1], MEAN_BGR / 255, atol=1e-6)
    assert np.abs(propagated[:, :-4] * 255 - frames[1][:, :-4]).mean() < 6
    mask = motion.mask(0, 1)
    assert mask[20:40, 20:-20].mean() > 0.9 and mask[20:40, -1].max() < 0.5


def test_temporal_loss_is_zero_only_for_what_the_anchor_shows(
    frames: list[NDArray[np.uint8]], objective: Objective
) -> None:
    frame = torch.from_numpy(frames[0]).permute(2, 0, 1)[None].float() / 255
    mask = torch.ones(1, 1, *frame.shape[2:])
    free = objective.of_frame(frame)(frame)
    assert torch.allclose(objective.of_frame(frame, [Anchor(frame, mask)])(frame), free)
    bound = objective.of_frame(frame, [Anchor(frame + 0.1, mask)])(frame)
    assert (bound - free).item() == pytest.approx(objective.weights.temporal * 0.01, rel=1e-3)


def test_each_start_begins_where_it_says(
    frames: list[NDArray[np.uint8]], objective: Objective, tmp_path: Path
) -> None:
    done = painter(frames[:3], objective, tmp_path)
    done.paint()
    first, second = done._read(1, 0), done._read(1, 1)
    starts = {
        name: painter(frames[:3], objective, tmp_path, start=name)._single_start(2)
        for name in ("random", "image", "prev", "prevWarped", "first")
    }
    assert np.abs(starts["random"] - MEAN_BGR / 255).max() < 0.01
    assert np.array_equal(starts["image"], frames[2] / np.float32(255))
    assert np.array_equal(starts["prev"], second) and np.array_equal(starts["first"], first)
    assert np.abs(starts["prevWarped"][:, :-4] - second[:, 2:-2]).mean() < 0.05


def test_long_term_anchors_share_out_the_pixels(
    frames: list[NDArray[np.uint8]], objective: Objective, tmp_path: Path
) -> None:
    work = painter(frames, objective, tmp_path, offsets=(1, 2, 4))
    work.motion.smooth = False
    work.paint()
    anchors = work._anchors(4, [3, 2, 0], 1)
    assert len(anchors) == 3
    assert torch.stack([anchor.mask for anchor in anchors]).sum(0).max() <= 1
    assert anchors[0].mask.mean() > 0.8


def test_passes_alternate_and_blend_with_the_neighbor_just_done(
    frames: list[NDArray[np.uint8]], objective: Objective, tmp_path: Path
) -> None:
    order: list[tuple[int, int]] = []
    work = painter(frames[:3], objective, tmp_path, passes=3, pass_iterations=2, temporal_from=2)
    images = work.paint(lambda number, index, _, __: order.append((number, index)))
    assert order == [(1, 0), (1, 1), (1, 2), (2, 2), (2, 1), (2, 0), (3, 0), (3, 1), (3, 2)]
    assert [path.parent.name for path in images] == ["pass-03"] * 3
    own, neighbor = work._read(2, 1), work._read(3, 0)
    start = work._blended_start(3, 1, 0)
    where = work.motion.mask(0, 1) > 0.999
    half = (own + work.motion.propagate(neighbor, 0, 1)) / 2
    assert where.mean() > 0.5 and np.allclose(start[where], half[where], atol=1e-3)


def test_a_cut_run_goes_on_to_the_same_images(
    frames: list[NDArray[np.uint8]], objective: Objective, tmp_path: Path
) -> None:
    whole = painter(frames[:3], objective, tmp_path / "whole").paint()

    class Cut(Exception):
        pass

    def stop(_: int, index: int, __: int, ___: float) -> None:
        if index == 1:
            raise Cut

    with pytest.raises(Cut):
        painter(frames[:3], objective, tmp_path / "cut").paint(stop)
    assert sorted(path.name for path in (tmp_path / "cut").rglob("*.png")) == ["00000.png"]
    for left, right in zip(whole, painter(frames[:3], objective, tmp_path / "cut").paint(), strict=True):
        assert np.array_equal(cv2.imread(str(left)), cv2.imread(str(right)))


def test_the_command_paints_resumes_and_refuses_other_settings(data_root: Path, tmp_path: Path) -> None:
    words = [
        str(data_root / "videos" / "webcam_bird.mkv"), str(data_root / "styles" / "wave.jpg"), str(tmp_path / "run"),
        "--backbone", str(data_root / "teachers" / "perceptual" / "darknet_tiny.onnx"), "--device", "cpu",
        "--size", "48", "--limit", "2", "--iterations", "3", "3", "--offsets", "1,2",
    ]  # fmt: skip
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    video = read_frames(tmp_path / "run" / "stylized.mp4", short_side=48, limit=None)
    assert len(video) == 2 and video[0].shape == (48, 64, 3)
    again = CliRunner().invoke(command, words, catch_exceptions=False)
    assert again.exit_code == 0 and "resuming" in again.output
    with pytest.raises(UsageError, match="other settings"):
        CliRunner().invoke(command, [*words, "--style", "9"], catch_exceptions=False)


def test_wrong_inputs_are_refused(frames: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no start"):
        PaintOptions(start="zero")
    with pytest.raises(UsageError, match="rising"):
        PaintOptions(offsets=(4, 1))
    with pytest.raises(SourceNotFound, match="no frames"):
        read_frames(tmp_path, short_side=64, limit=None)
    (tmp_path / "flow_0_1.flo").write_bytes(b"not a flow")
    with pytest.raises(SourceNotFound, match="flo"):
        read_flo(tmp_path / "flow_0_1.flo")
    header = np.float32(202021.25).tobytes() + np.array([4, 2], "<i4").tobytes()
    (tmp_path / "flow_0_1.flo").write_bytes(header + np.ones((2, 4, 2), "<f4").tobytes())
    assert read_flo(tmp_path / "flow_0_1.flo").shape == (2, 4, 2)
    with pytest.raises(ShapeMismatch, match="does not fit"):
        Motion(frames, tmp_path).vectors(0, 1)
    assert not claim(tmp_path / "run", {"a": 1}) and claim(tmp_path / "run", {"a": 1})
