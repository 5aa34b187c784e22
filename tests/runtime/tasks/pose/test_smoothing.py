"""Joints between two looks of the network: propagated by a real flow, corrected without a jerk."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.tasks.pose.point_tracking import _median
from steadyframe.runtime.tasks.pose.smoothing import PeopleStage
from steadyframe.runtime.temporal.options import SteadyOptions
from steadyframe.runtime.temporal.stage import Fresh

STEP_NS = 33_333_333


def textured(shift: float = 0.0, *, seed: int = 0) -> np.ndarray:
    """A cloudy image, moved to the right by a number of pixels."""
    clouds = np.random.default_rng(seed).integers(0, 256, (240, 400, 3), dtype=np.uint8)
    clouds = cv2.GaussianBlur(clouds, (0, 0), 4)
    clouds = cv2.normalize(clouds, None, 0, 255, cv2.NORM_MINMAX)
    return cv2.warpAffine(clouds, np.float32([[1, 0, shift], [0, 1, 0]]), (320, 240), borderMode=cv2.BORDER_REFLECT)


def outputs(points: np.ndarray, ids=(1,)) -> dict:
    keypoints = np.concatenate((points, np.full((*points.shape[:-1], 1), 0.9)), -1).astype(np.float32)
    return {"keypoints": keypoints[None] if keypoints.ndim == 2 else keypoints,
            "ids": np.array(ids, np.int64), "scores": np.full(len(ids), 0.9, np.float32)}  # fmt: skip


POINTS = np.array([[150, 80], [180, 120], [130, 160]], np.float32)


def right(pixels: float) -> np.ndarray:
    return np.array([pixels, 0], np.float32)


def play(stage: PeopleStage, images, answers, *, late: int = 0):
    """Show every image; the network's outputs come `late` frames after the frame was submitted."""
    waiting, shown = [], []
    for index, image in enumerate(images):
        frame = Frame(image, index, time_ns=index * STEP_NS)
        motion = stage.observe(frame)
        if motion.keyframe:
            waiting.append((index + late, Fresh(frame, answers(index))))
        fresh = waiting.pop(0)[1] if waiting and waiting[0][0] <= index else None
        shown.append(stage.update(motion, fresh)[0]["keypoints"])
    return shown


@pytest.mark.parametrize("late", [0, 2])
def test_between_keyframes_joints_move_with_what_they_lie_on(late):
    images = [textured(3.0 * i) for i in range(12)]
    stage = PeopleStage(SteadyOptions.of("keyframe", every=6))
    shown = play(stage, images, lambda i: outputs(POINTS + right(3 * i)), late=late)
    for index in range(late, 12):
        # within a tenth of the way since the last look
        assert np.abs(shown[index][0, :, :2] - POINTS - right(3 * index)).max() < 1.8, index


def test_a_resting_person_does_not_tremble_as_the_network_does():
    random = np.random.default_rng(1)
    images = [textured()] * 60
    wobble = random.normal(0, 2.0, (60, 3, 2))
    raw = [POINTS + wobble[i] for i in range(60)]
    shown = play(PeopleStage(SteadyOptions.of("blend")), images, lambda i: outputs(raw[i]))
    steady = np.stack([one[0, :, :2] for one in shown])[10:]
    second = np.abs(np.diff(steady, 2, axis=0)).mean()
    assert second < 0.25 * np.abs(np.diff(np.stack(raw)[10:], 2, axis=0)).mean()
    assert np.abs(steady.mean((0,)) - POINTS).max() < 1.5


def test_a_moving_person_is_not_behind():
    images = [textured(4.0 * i) for i in range(20)]
    shown = play(PeopleStage(SteadyOptions.of("blend")), images, lambda i: outputs(POINTS + right(4 * i)))
    behind = [float((POINTS + right(4 * i) - shown[i][0, :, :2])[:, 0].mean()) for i in range(5, 20)]
    assert abs(np.mean(behind)) < 0.5 * 4, "half a frame"


@pytest.mark.parametrize(("pixels", "frames"), [(25, 10), (60, 20)])
def test_a_wrong_place_is_left_soon(pixels, frames):
    images = [textured()] * 40
    answers = [POINTS if i < 10 else POINTS + right(pixels) for i in range(40)]
    shown = play(PeopleStage(SteadyOptions.of("blend")), images, lambda i: outputs(answers[i]))
    assert np.abs(shown[9 + frames][0, :, :2] - answers[-1]).max() < 0.2 * pixels


def test_people_come_and_go_by_their_ids():
    two = np.stack((POINTS, POINTS + right(60)))

    def answers(index):
        return outputs(two, (1, 2)) if index < 4 else outputs(two[1:], (2,)) if index < 8 else outputs(two[:0], ())

    shown = play(PeopleStage(SteadyOptions.of("blend")), [textured()] * 12, answers)
    assert [len(one) for one in shown] == [2] * 4 + [1] * 4 + [0] * 4
    assert np.abs(shown[6][0, :, :2] - two[1]).max() < 0.5


def test_after_a_cut_nobody_is_shown_until_the_network_has_looked():
    images = [textured()] * 3 + [textured(seed=9) // 4] * 3
    stage = PeopleStage(SteadyOptions.of("keyframe", every=10))
    shown = play(stage, images, lambda i: outputs(POINTS), late=1)
    assert [len(one) for one in shown] == [0, 1, 1, 0, 1, 1]
    motion = stage.observe(Frame(images[-1], 6, time_ns=6 * STEP_NS))
    assert len(motion.flows) == 3, "since the cut"


def test_the_flows_lead_from_the_networks_last_frame():
    stage = PeopleStage(SteadyOptions.of("keyframe", every=3))
    motions = [stage.observe(Frame(textured(index), index, time_ns=index * STEP_NS)) for index in range(7)]
    assert [len(motion.flows) for motion in motions] == [0, 1, 2, 3, 1, 2, 3]
    assert all(flow.forward for motion in motions for flow in motion.flows)
    restart = stage.observe(Frame(textured(7), 7, time_ns=7 * STEP_NS), restart=True)
    assert restart.flows == () and restart.keyframe and restart.restart


def test_automatic_keyframes_are_every_third_frame_and_every_new_scene():
    stage = PeopleStage(SteadyOptions.of("keyframe", every="auto"))
    still = [stage.observe(Frame(textured(), i, time_ns=i * STEP_NS)).keyframe for i in range(5)]
    assert still == [True, False, False, True, False]
    assert stage.observe(Frame(textured(seed=5) // 3, 5, time_ns=5 * STEP_NS)).keyframe


def test_a_quick_pan_is_no_new_scene():
    stage = PeopleStage(SteadyOptions.of("keyframe"))
    shown = play(stage, [textured(20.0 * i) for i in range(4)], lambda i: outputs(POINTS + right(20 * i)))
    assert [len(one) for one in shown] == [1] * 4
    assert len(stage.observe(Frame(textured(80.0), 4, time_ns=4 * STEP_NS)).flows) == 1, "since the frame before"


def crossing(index: int) -> np.ndarray:
    """A small hand that goes quickly to the right over a body that stays."""
    image = textured()
    hand = textured(seed=4)[:22, :22]
    left = 100 + 7 * index
    image[109:131, left : left + 22] = hand
    return image


def test_a_hand_is_not_left_behind_on_the_body_it_crosses():
    images = [crossing(i) for i in range(13)]
    start = np.array([[111, 120], [180, 60], [130, 180]], np.float32)
    answer = outputs(start)

    def late_by(extremities):
        stage = PeopleStage(SteadyOptions.of("keyframe", every=20), extremities=extremities)
        return abs(play(stage, images, lambda i: answer)[-1][0, 0, 0] - (111 + 7 * 12))

    assert late_by(extremities=(0,)) < 4
    assert late_by(extremities=()) > 20, "or the test is too easy"


def moved_hand(pixels: float) -> np.ndarray:
    points = POINTS.copy()
    points[0, 0] += pixels
    return points


def test_a_correction_comes_no_faster_than_a_body_moves():
    answers = [POINTS if i < 5 else moved_hand(30) for i in range(40)]
    shown = play(PeopleStage(SteadyOptions.of("blend")), [textured()] * 40, lambda i: outputs(answers[i]))
    path = np.stack([one[0, 0, 0] for one in shown])
    assert 1 < np.diff(path).max() < 1.5 * 90 / 30, "80 to 90 pixels is the size of the person"
    assert path[-1] == pytest.approx(180, abs=4)


def test_a_person_whom_the_images_lose_is_found_again_at_once():
    images = [textured(8.0 * i) for i in range(16)]  # the camera turns after somebody who stays in its middle
    shown = play(PeopleStage(SteadyOptions.of("keyframe", every=3)), images, lambda i: outputs(POINTS))
    for index in (3, 6, 9, 12, 15):
        assert np.abs(shown[index][0, :, :2] - POINTS).max() < 10, index


def test_a_joint_that_is_far_away_twice_goes_there_at_once():
    def answer(i):
        return outputs(moved_hand(0 if i < 6 else 100))

    shown = play(PeopleStage(SteadyOptions.of("keyframe", every=3)), [textured()] * 20, answer)
    assert shown[8][0, 0, 0] < 150 + 20, "once may be a mistake"
    assert shown[12][0, 0, 0] > 150 + 50


def test_a_joint_follows_the_network_by_as_much_as_that_is_sure():
    def shown_with(score):
        stage = PeopleStage(SteadyOptions.of("blend"))
        answers = []
        for i in range(12):
            answer = outputs(POINTS if i < 4 else POINTS + right(10))
            answer["keypoints"][..., 2] = score
            answers.append(answer)
        return play(stage, [textured()] * 12, lambda i: answers[i])[-1][0, :, 0] - POINTS[:, 0]

    assert (shown_with(0.9) > 2 * shown_with(0.2)).all()
    assert (shown_with(0.2) > 0).all()


def test_off_is_no_mode_of_a_stage():
    with pytest.raises(UsageError, match="blend or keyframe"):
        PeopleStage(SteadyOptions(mode="off"))


def test_the_median_of_steps_is_that_of_the_good_ones() -> None:
    random = np.random.default_rng(0)
    steps, good = random.normal(size=(200, 5, 2)).astype(np.float32), random.random((200, 5)) < 0.6
    good[0], good[1] = False, True
    found = _median(steps, good)
    for row in range(1, len(steps)):
        if good[row].any():
            assert np.allclose(found[row], np.median(steps[row][good[row]], axis=0))
    assert (found[0] == 0).all()
