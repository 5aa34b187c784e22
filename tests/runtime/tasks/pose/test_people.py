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
