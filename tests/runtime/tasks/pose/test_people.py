"""The result of the pose task: JSON and overlay."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.bundle.manifest import Skeleton
from steadyframe.runtime.errors import ShapeMismatch
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.tasks.pose.people import People, Person

SKELETON = Skeleton("three", ("nose", "left_wrist", "right_wrist"), ((0, 1), (0, 2)), (0, 2, 1))


def person(at: float = 40.0, *, score: float = 0.9) -> Person:
    keypoints = np.array([[at, at, 0.9], [at + 30, at + 25, score], [at - 30, at + 25, 0.1]], np.float32)
    return Person(4, 0.8765, (at - 30, at, 60, 25), keypoints)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_bones_read_on_dark_and_bright_ground(level):
    frame = Frame(np.full((120, 160, 3), level, np.uint8))
    drawn = People((person(),), SKELETON, frame).pixels.astype(int)
    line = drawn[50:54, 50:60].reshape(-1, 3)  # across the bone from the nose to the left wrist
    contrast = np.abs(line - level).sum(1).max()
    assert contrast > 150
    assert (frame.pixels == level).all(), "the frame itself is left alone"


def test_joints_that_are_not_sure_are_not_drawn_but_told():
    frame = Frame(np.zeros((120, 160, 3), np.uint8))
    people = People((person(),), SKELETON, frame)
    assert not people.pixels[60:, :20].any(), "the right wrist"
    assert people.as_json()["people"][0]["keypoints"]["right_wrist"] == [10.0, 65.0, 0.1]
    assert people.as_json()["people"][0]["score"] == 0.876


def test_people_partly_or_wholly_outside_do_not_break_the_drawing():
    frame = Frame(np.zeros((60, 80, 3), np.uint8))
    for at in (-500.0, -20.0, 70.0, 4000.0):
        assert People((person(at),), SKELETON, frame).pixels.shape == (60, 80, 3)


def test_nobody_is_an_empty_list_and_the_frame_itself():
    frame = Frame(np.zeros((60, 80, 3), np.uint8))
    nobody = People((), SKELETON, frame)
    assert nobody.as_json() == {"people": []} and nobody.pixels is frame.pixels
    assert nobody.as_array().shape == (1, 3, 3)


def test_the_overlay_is_drawn_once():
    """Several sinks show the same result."""
    people = People((person(),), SKELETON, Frame(np.zeros((120, 160, 3), np.uint8)))
    first = people.pixels
    assert first is people.pixels
    again = People((person(),), SKELETON, people.frame)
    assert again.pixels is not first and np.array_equal(again.pixels, first)


def test_without_overlay_the_image_is_the_frame_itself():
    frame = Frame(np.zeros((120, 160, 3), np.uint8))
    people = People((person(),), SKELETON, frame, overlay=False)
    assert people.pixels is frame.pixels and not frame.pixels.any()


def test_other_joints_than_the_skeletons_are_refused():
    wrong = Person(1, 0.5, (0, 0, 1, 1), np.zeros((2, 3), np.float32))
    with pytest.raises(ShapeMismatch, match="other joints"):
        People((wrong,), SKELETON, Frame(np.zeros((60, 80, 3), np.uint8)))


def test_the_joints_in_cocos_order_and_its_results():
    people = People((person(), person(80.0)), SKELETON, Frame(np.zeros((120, 160, 3), np.uint8)))
    joints = people.as_coco()
    assert joints.shape == (2, 17, 3)
    assert joints[0, 0].tolist() == pytest.approx([40.0, 40.0, 0.9])  # the nose
    assert joints[1, 9].tolist() == pytest.approx([110.0, 105.0, 0.9])  # the left wrist
    assert not joints[:, 11:].any()  # hips, knees and ankles, which this skeleton does not have
    (first, _) = people.as_coco_results(7)
    assert first["image_id"] == 7 and first["category_id"] == 1
    assert len(first["keypoints"]) == 51
    assert People((), SKELETON, people.frame).as_coco().shape == (0, 17, 3)


def test_people_are_key_points_of_supervision():
    supervision = pytest.importorskip("supervision", reason="pip install supervision")
    people = People((person(), person(80.0)), SKELETON, Frame(np.zeros((120, 160, 3), np.uint8)))
    points = people.to_supervision()
    assert isinstance(points, supervision.KeyPoints)
    assert len(points) == 2
    assert np.array_equal(points.xy[1, 1], people.people[1].keypoints[1, :2])
    assert points.data["tracker_id"].tolist() == [4, 4]
    assert len(People((), SKELETON, people.frame).to_supervision()) == 0
