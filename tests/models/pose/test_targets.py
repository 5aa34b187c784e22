"""Heat-maps from joints and back, measures, calibration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from steadyframe.models.pose.calibrate import _logistic, expected_calibration_error, scores_of
from steadyframe.models.pose.losses import centre_loss, map_loss
from steadyframe.models.pose.metrics import (
    RADII,
    detection_curve,
    errors_in_torsos,
    oks_average_precision,
    pck,
    torso,
)
from steadyframe.models.pose.scenes import BOX_UNIT, person_targets
from steadyframe.models.pose.skeleton import LIMBS, SKELETONS, make_skeleton, placed
from steadyframe.models.pose.targets import decode, gaussians, to_cells, to_pixels
from steadyframe.runtime.errors import BundleError


def test_a_joint_is_found_again_to_a_tenth_of_a_cell():
    torch.manual_seed(0)
    cells = torch.rand(8, 19, 2) * 40 + 4
    found, peaks = decode(gaussians(cells, (48, 48)))
    assert (found - cells).abs().max() < 0.25 and (found - cells).abs().mean() < 0.1
    assert ((peaks > 0.45) & (peaks < 0.55)).all(), "smoothed"


def test_pixels_and_cells_are_inverse_and_cells_are_centred():
    joints = torch.rand(3, 5, 2) * 192
    assert torch.allclose(to_pixels(to_cells(joints, 4), 4), joints, atol=1e-4)
    assert to_pixels(torch.zeros(2), 4).tolist() == [1.5, 1.5]


def test_a_joint_at_the_border_is_decoded_inside():
    cells = torch.tensor([[[0.0, 0.0], [47.0, 47.0]]])
    found, _ = decode(gaussians(cells, (48, 48)))
    assert (found >= 0).all() and (found <= 47).all() and (found - cells).abs().max() < 0.8


def test_empty_maps_give_finite_places():
    found, peaks = decode(torch.zeros(1, 3, 16, 16))
    assert torch.isfinite(found).all() and (peaks == 0).all()


def test_unmarked_joints_teach_nothing():
    maps, target = torch.rand(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    weight = torch.tensor([[1.0, 0, 0], [1, 0, 0]])
    assert map_loss(maps, target, weight) == pytest.approx(float(maps[:, 0].square().sum((1, 2)).mean()), rel=1e-5)
    assert map_loss(maps, target, torch.zeros(2, 3)) == 0


def test_what_nobody_knows_teaches_nothing_about_people():
    logits = torch.randn(1, 1, 6, 6)
    heat = torch.zeros(1, 1, 6, 6)
    assert centre_loss(logits, heat, torch.zeros(1, 1, 6, 6)) == 0
    assert centre_loss(logits, heat, torch.ones(1, 1, 6, 6)) > 0


def test_person_maps_say_where_and_how_large():
    box = torch.zeros(1, 4, 4)
    box[0, 0] = torch.tensor([60.0, 40.0, 30.0, 64.0])
    box[0, 1] = torch.tensor([150.0, 140.0, 90.0, 50.0])
    heat, weight, value, value_weight = person_targets(box, torch.tensor([True]), 192)
    assert heat.shape == (1, 1, 24, 24) and (weight == 1).all()
    for x, y, w, h in box[0, :2].tolist():
        cx, cy = (x - 3.5) / 8, (y - 3.5) / 8
        row, column = round(cy), round(cx)
        assert heat[0, 0, row, column] == 1 and value_weight[0, 0, row, column] == 1
        log_side, dx, dy = value[0, :, row, column].tolist()
        assert log_side == pytest.approx(np.log(max(w, h) / BOX_UNIT), abs=1e-5)
        assert (column + dx, row + dy) == pytest.approx((cx, cy), abs=1e-4)
    assert (heat == 1).sum() == 2


def test_beside_a_person_in_an_image_that_is_not_fully_labelled_nothing_is_known():
    box = torch.zeros(1, 1, 4)
    box[0, 0] = torch.tensor([60.0, 60.0, 40.0, 80.0])
    _, weight, _, _ = person_targets(box, torch.tensor([False]), 192)
    assert weight[0, 0, 7, 7] == 1 and weight[0, 0, 20, 20] == 0


NAMES = SKELETONS["LSP-14"].joints


def people(count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    joints = random.uniform(0, 100, (count, 14, 2))
    place = {name: i for i, name in enumerate(NAMES)}
    joints[:, place["right_hip"]], joints[:, place["left_shoulder"]] = (50, 90), (50, 40)  # a torso of 50 pixels
    return joints, np.ones((count, 14))


def test_the_torso_is_a_diagonal_and_the_other_one_stands_in():
    joints, known = people()
    joints[:, NAMES.index("left_hip")], joints[:, NAMES.index("right_shoulder")] = (0, 90), (30, 50)  # the other: 50
    joints[0, NAMES.index("left_hip")] = (-70, 90)  # this diagonal counts where both are marked: its length is 107.7
    assert torso(joints, known, NAMES) == pytest.approx([np.hypot(100, 40)] + [50] * 5)
    known[:, NAMES.index("right_shoulder")] = 0
    assert torso(joints, known, NAMES).tolist() == [50] * 6
    known[:, NAMES.index("left_shoulder")] = 0
    assert np.isnan(torso(joints, known, NAMES)).all()


def test_pck_counts_joints_within_a_share_of_the_torso():
    joints, known = people()
    known[:, NAMES.index("right_shoulder")] = 0  # leaves the 50-pixel diagonal
    found = joints.copy()
    found[:3, NAMES.index("left_wrist")] += (0, 9.9)  # 0.198 torsos
    found[3:, NAMES.index("left_wrist")] += (0, 10.1)
    known[5, NAMES.index("left_wrist")] = 0
    errors = errors_in_torsos(found, joints, known, NAMES)
    shares = pck(errors, NAMES)
    assert shares["left_wrist"] == pytest.approx(3 / 5) and shares["left_knee"] == 1
    assert "right_shoulder" not in shares
    assert shares["limbs"] == pytest.approx((3 / 5 + 10) / 11)
    curve = detection_curve(errors, NAMES)
    assert len(curve) == len(RADII) and (np.diff(curve) >= 0).all() and curve[-1] == 1


def test_oks_is_one_for_the_truth_and_falls_with_the_error():
    joints = np.random.default_rng(0).uniform(20, 180, (4, 17, 2))
    truth = {
        "images": [{"id": i, "width": 200, "height": 200} for i in range(4)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": i + 1, "image_id": i, "category_id": 1, "iscrowd": 0, "num_keypoints": 17, "area": 160.0**2 / 2,
             "bbox": [20, 20, 160, 160], "keypoints": np.column_stack((j, np.full(17, 2))).ravel().tolist()}
            for i, j in enumerate(joints)
        ],
    }  # fmt: skip

    def found(shift: float) -> list[dict]:
        return [{"image_id": i, "category_id": 1, "score": 0.9,
                 "keypoints": np.column_stack((j + shift, np.ones(17))).ravel().tolist()}
                for i, j in enumerate(joints)]  # fmt: skip

    assert oks_average_precision(truth, found(0)) == pytest.approx(1)
    assert 0 < oks_average_precision(truth, found(8)) < 1
    assert oks_average_precision(truth, found(150)) == 0


def test_scores_become_chances():
    random = np.random.default_rng(0)
    peaks = random.uniform(0.02, 1, 20_000)
    right = random.random(20_000) < 1 / (1 + np.exp(-(2.5 * np.log(peaks) + 2)))
    slope, offset = _logistic(np.log(peaks), right)
    assert (slope, offset) == (pytest.approx(2.5, abs=0.15), pytest.approx(2, abs=0.15))
    scores = scores_of(peaks.astype(np.float32), (slope, offset))
    assert expected_calibration_error(scores, right) < 0.02
    assert expected_calibration_error(peaks, right) > 0.05


def test_perfectly_separated_peaks_still_give_finite_figures():
    slope, offset = _logistic(np.log(np.array([0.1, 0.1, 0.9, 0.9])), np.array([False, False, True, True]))
    assert np.isfinite((slope, offset)).all() and slope > 0


@pytest.mark.parametrize("name", list(SKELETONS))
def test_skeletons_mirror_left_to_right(name):
    skeleton = SKELETONS[name]
    for joint, twin in enumerate(skeleton.mirror):
        a, b = skeleton.joints[joint], skeleton.joints[twin]
        assert a.replace("left", "right") == b.replace("left", "right")
        assert (a == b) == (not a.startswith(("left", "right")))


def test_label_sets_are_placed_by_name_and_gaps_are_marked():
    order = placed(SKELETONS["LSP-14"].joints, SKELETONS["union-19"])
    assert order[0] == -1, "LSP has no nose"
    assert SKELETONS["LSP-14"].joints[order[-1]] == "head_top"
    assert set(LIMBS) <= set(SKELETONS["union-19"].joints) and len(LIMBS) == 12
    with pytest.raises(BundleError, match="mirror twins"):
        make_skeleton("half", ("nose", "left_wrist"))
