"""Flow: validated, scaled, composed, and right on known motion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import ShapeMismatch, UsageError
from steadyframe.runtime.motion.flow import (
    PRESETS,
    Flow,
    FlowEstimator,
    FlowOptions,
    compose,
    inverse,
    positions,
    reduced_luma,
    sample,
)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth random luma with detail at several scales."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for cell in (4, 9, 23):
        coarse = random.random((height // cell + 2, width // cell + 2), np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(total / 3 * 255, 0, 255).astype(np.uint8)


def moved(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The image after a motion: `matrix` (2, 3) takes old to new positions."""
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def backward_truth(matrix: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    inverse = cv2.invertAffineTransform(matrix)
    y, x = np.mgrid[: size_wh[1], : size_wh[0]].astype(np.float32)
    old = np.stack((x, y, np.ones_like(x)), -1) @ inverse.T
    return old - np.stack((x, y), -1)


MOTIONS = {
    "shift": np.float32([[1, 0, 5.5], [0, 1, -3.25]]),
    "zoom": cv2.getRotationMatrix2D((160, 90), 0, 1.04),
    "rotation": cv2.getRotationMatrix2D((160, 90), 2.0, 1),
}


@pytest.mark.parametrize("preset", ["fast", "medium"])
@pytest.mark.parametrize("motion", MOTIONS)
def test_known_motion_is_found_within_a_quarter_pixel(motion: str, preset: str) -> None:
    before, matrix = texture(180, 320), np.asarray(MOTIONS[motion], np.float64)
    estimator = FlowEstimator(FlowOptions(preset))
    assert estimator.step(before) is None
    pair = estimator.step(moved(before, matrix))
    assert pair is not None
    truth = backward_truth(matrix, (320, 180))
    error = np.linalg.norm(pair.backward.vectors - truth, axis=2)[12:-12, 12:-12]
    assert np.median(error) < 0.15
    assert np.mean(error) < 0.25
    # The other way round, the same motion has about the opposite sign.
    assert np.median(np.abs(pair.forward.vectors + truth)[12:-12, 12:-12]) < 0.5
    assert pair.forward.forward
    assert not pair.backward.forward


def test_estimator_keeps_the_reduced_image_and_forgets_on_reset_and_on_a_new_size() -> None:
    estimator = FlowEstimator(FlowOptions(short_side=64))
    frame = cv2.cvtColor(texture(128, 256), cv2.COLOR_GRAY2BGR)
    assert estimator.step(frame) is None
    pair = estimator.step(frame)
    assert pair is not None
    assert pair.backward.size_wh == (128, 64)
    assert np.array_equal(pair.previous, pair.current)
    assert estimator.step(frame[:, :200]) is None
    assert estimator.step(frame[:, :200]) is not None
    estimator.reset()
    assert estimator.step(frame[:, :200]) is None


def test_estimator_is_not_fooled_by_a_reused_frame_buffer() -> None:
    estimator = FlowEstimator(FlowOptions(short_side=180))
    buffer = texture(180, 320)
    estimator.step(buffer)
    buffer[:] = np.roll(buffer, 4, axis=1)
    pair = estimator.step(buffer)
    assert pair is not None
    assert np.median(pair.backward.vectors[..., 0]) == pytest.approx(-4, abs=0.2)


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 2000), (2000, 3), (37, 41), (720, 1280)])
def test_any_frame_size_gets_a_flow(size_hw: tuple[int, int]) -> None:
    estimator = FlowEstimator()
    frame = np.zeros((*size_hw, 3), np.uint8)
    estimator.step(frame)
    pair = estimator.step(frame)
    assert pair is not None
    assert np.isfinite(pair.backward.vectors).all()
    assert max(pair.backward.size_wh) <= 4 * 180


def test_reduced_luma_averages_and_never_enlarges() -> None:
    board = np.indices((720, 1280)).sum(0) % 2 * 255
    small = reduced_luma(board.astype(np.uint8), 180)
    assert small.shape == (180, 320)
    assert np.abs(small.astype(int) - 127).max() <= 1
    assert reduced_luma(np.zeros((100, 120), np.uint8), 180).shape == (100, 120)


def test_scaled_flow_keeps_the_motion_of_the_content() -> None:
    flow = Flow.constant((90, 160), 2, -1).scaled((640, 180))
    assert flow.size_wh == (640, 180)
    assert np.allclose(flow.vectors, (8, -2), atol=1e-5)


def test_composed_flow_points_where_two_steps_lead() -> None:
    early, late = Flow.constant((40, 50), 1, 2), Flow.constant((40, 50), -3, 0.5)
    assert np.allclose(compose(late, early).vectors, (-2, 2.5), atol=1e-5)
    # A zoom about the corner: x/2 at each step is x/4 over both.
    grid = positions(Flow.constant((40, 50)))
    half = Flow(-0.5 * grid)
    assert np.allclose(compose(half, half).vectors, -0.75 * grid, atol=0.05)


def test_the_flow_that_checks_may_be_measured_at_a_smaller_size() -> None:
    before, matrix = texture(360, 640), np.asarray([[1, 0, 8.0], [0, 1, -4.0]])
    pairs = []
    for check_side in (None, 90):
        estimator = FlowEstimator(FlowOptions("medium", short_side=180, check_side=check_side))
        estimator.step(before)
        pairs.append(estimator.step(moved(before, matrix)))
    both, checked = pairs
    assert both is not None and checked is not None
    assert np.array_equal(both.backward.vectors, checked.backward.vectors)
    assert both.forward.size_wh == (320, 180) and checked.forward.size_wh == (160, 90)
    assert np.allclose(np.median(checked.forward.vectors, axis=(0, 1)), (2, -1), atol=0.1)  # in its own pixels


def test_what_is_not_a_flow_is_refused() -> None:
    with pytest.raises(ShapeMismatch):
        Flow(np.zeros((4, 4), np.float32))
    with pytest.raises(ShapeMismatch):
        Flow(np.zeros((4, 4, 2), np.float64))
    with pytest.raises(ShapeMismatch):
        compose(Flow.constant((4, 4)), Flow.constant((4, 5)))
    with pytest.raises(UsageError, match="medium"):
        FlowOptions("slow")
    with pytest.raises(UsageError):
        FlowOptions(short_side=8)
    with pytest.raises(UsageError):
        FlowOptions(check_side=8)
    assert list(PRESETS) == ["ultrafast", "light", "fast", "medium"]


def read_flo(path) -> np.ndarray:
    """Middlebury .flo: magic number, width, height, then x and y of every pixel."""
    content = path.read_bytes()
    assert np.frombuffer(content, "<f4", 1)[0] == pytest.approx(202021.25)
    width, height = np.frombuffer(content, "<i4", 2, 4)
    return np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2)


@pytest.mark.data
def test_presets_grow_better_on_ground_truth(data_root) -> None:
    """Median end-point error on Flying Chairs: each beats the one before; medium is under 0.5 px."""
    errors = {}
    for preset in PRESETS:
        total = []
        for first in sorted((data_root / "flow").glob("*_frame0.png")):
            stem = first.name.removesuffix("_frame0.png")
            estimator = FlowEstimator(FlowOptions(preset, short_side=384))
            estimator.step(cv2.imread(str(first)))
            pair = estimator.step(cv2.imread(str(first.with_name(f"{stem}_frame1.png"))))
            assert pair is not None
            truth = read_flo(first.with_name(f"{stem}_flow.flo"))
            total.append(np.linalg.norm(pair.forward.vectors - truth, axis=2))
        assert len(total) == 3
        errors[preset] = np.median(total)
    assert errors["medium"] < errors["fast"] < errors["ultrafast"] < 2
    assert errors["medium"] < 0.5


def test_the_inverse_of_a_flow_leads_back() -> None:
    """Of a zoom and a turn: there and back again is within a twentieth of a pixel, away from the border."""
    y, x = np.mgrid[:64, :96].astype(np.float32)
    flow = Flow(np.stack((0.04 * (x - 40) + 0.03 * (y - 30), 0.03 * (y - 30) - 0.02 * (x - 40)), -1))
    back = inverse(flow)
    assert back.forward
    there_and_back = back.vectors + sample(flow.vectors, positions(Flow(back.vectors)))
    assert np.abs(there_and_back[8:-8, 8:-8]).max() < 0.05
    assert np.abs(flow.vectors).max() > 2
