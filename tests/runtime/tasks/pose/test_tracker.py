"""ROIs around people, what they look like, and the gallery of who was lost."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.tasks.pose.tracker import (
    Gallery,
    Roi,
    Track,
    bounding_box,
    roi_around,
    same_person,
    tiles,
    torso_histogram,
)


def body(x: float, y: float, score: float = 0.9) -> np.ndarray:
    return np.array([[x, y, score], [x + 40, y, score], [x, y + 80, score], [x + 40, y + 80, score]], np.float32)


def track(x: float, **changes) -> Track:
    values = {
        "id": 1,
        "keypoints": body(x, 50),
        "roi": Roi(x + 20, 90, 80),
        "presence": 0.9,
        "born": 0,
        "seen": 0,
    }
    return Track(**values | changes)


def test_a_roi_holds_the_joints_that_are_seen():
    keypoints = np.vstack((body(10, 20), [[500, 500, 0.1]])).astype(np.float32)
    assert roi_around(keypoints, 0.3) == Roi(30, 60, 80)
    assert bounding_box(keypoints, 0.3) == (10, 20, 40, 80)
    assert roi_around(body(0, 0, 0.1), 0.3) is None


@pytest.mark.parametrize(("roi", "margin"), [(Roi(30, 60, 80), 1.25), (Roi(-7.3, 5.6, 33), 1.0)])
def test_a_cut_is_centred_to_half_a_pixel(roi, margin):
    (left, top), side = roi.cut(margin)
    assert side == round(roi.side * margin)
    assert abs(left + (side - 1) / 2 - roi.x) <= 0.5 and abs(top + (side - 1) / 2 - roi.y) <= 0.5


def test_small_changes_of_size_are_smoothed_and_large_ones_followed():
    followed = track(100)
    followed.follow(body(100, 50) * np.array([1, 1.1, 1], np.float32), 0.9, 1, 0.3)
    assert 80 < followed.roi.side < 88
    followed.follow(body(100, 50) * np.array([2, 2, 1], np.float32), 0.9, 2, 0.3)
    assert followed.roi.side == 160


def test_presence_is_averaged_until_nobody_is_there():
    followed = track(100)
    followed.follow(body(100, 50), 0.3, 1, 0.3)
    assert followed.presence == pytest.approx(0.6)
    followed.follow(body(100, 50), 0.01, 2, 0.3)
    assert followed.presence == pytest.approx(0.01)


def test_a_roi_moves_as_most_joints_do():
    followed = track(100)
    points = followed.keypoints[:, :2] + np.array([7, -2], np.float32)
    points[0] += 90  # one joint whose flow went astray
    followed.moved(points, 0.3)
    assert (followed.roi.x, followed.roi.y) == (127, 88)


def test_two_tracks_on_the_same_joints_are_one_person():
    assert same_person(track(100), track(103), 0.3)
    assert not same_person(track(100), track(130), 0.3)


def test_who_comes_back_is_known_by_the_torso():
    image = np.zeros((200, 400, 3), np.uint8)
    image[40:140, 90:150] = (30, 30, 200)
    image[40:140, 290:350] = (200, 60, 20)
    red, blue = (torso_histogram(image, body(x, 50), (0, 1, 2, 3)) for x in (100, 300))
    assert red is not None and blue is not None and red.sum() == pytest.approx(1)
    gallery = Gallery(keep_runs=10)
    gallery.put(track(100, id=7, appearance=red))
    assert gallery.take(blue, 5) is None
    assert gallery.take(red, 5) == 7
    assert gallery.take(red, 5) is None, "an id is given back once"
    gallery.put(track(100, id=8, appearance=red))
    assert gallery.take(red, 11) is None, "too long ago"


def test_what_a_person_looks_like_is_averaged():
    followed = track(100)
    followed.remember_appearance(None)
    assert followed.appearance is None
    followed.remember_appearance(np.float32([[1, 0]]))
    followed.remember_appearance(np.float32([[0, 1]]))
    assert followed.appearance.tolist() == pytest.approx(np.float32([[0.8, 0.2]]))
    followed.remember_appearance(None)
    assert followed.appearance.tolist() == pytest.approx(np.float32([[0.8, 0.2]]))


def test_a_torso_out_of_the_image_has_no_histogram():
    image = np.zeros((100, 100, 3), np.uint8)
    assert torso_histogram(image, body(500, 500), (0, 1, 2, 3)) is None
    assert torso_histogram(image, body(10, 10, 0.1), (0, 1, 2, 3)) is None


@pytest.mark.parametrize("frame_wh", [(640, 480), (1280, 720), (480, 640), (340, 256), (2000, 300)])
def test_the_parts_cover_the_image_and_overlap(frame_wh):
    whole, *parts = tiles(frame_wh, 192)
    assert whole.side == max(frame_wh) and 4 <= len(parts) <= 12
    width, height = frame_wh
    seen = np.zeros((height, width), int)
    for part in parts:
        (left, top), side = part.cut(1.0)
        assert min(left, top) >= -1 and left + side <= width + 1 and top + side <= height + 1
        seen[max(0, top) : top + side, max(0, left) : left + side] += 1
    if frame_wh != (2000, 300):  # so long an image is searched with gaps, or every look would take too long
        assert (seen[1:-1, 1:-1] > 0).all() and (seen > 1).mean() > 0.2
