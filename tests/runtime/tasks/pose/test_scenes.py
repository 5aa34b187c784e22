"""The shipped pose bundle on real images and clips: empty rooms, posters, people who cross, leave and come back."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from steadyframe.runtime.bundle.bundle import SHIPPED
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import open_task
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.pose.people import People
from steadyframe.runtime.tasks.pose.task import Pose
from steadyframe.runtime.temporal.options import SteadyOptions


@pytest.fixture
def pose():
    if not (SHIPPED / "pose" / "manifest.json").is_file():
        if os.environ.get("CI"):
            pytest.fail("no pose bundle is shipped")
        pytest.skip("no pose bundle is shipped")
    task = open_task("pose")
    yield task
    task.close()


def look(pose: Pose, image: np.ndarray) -> People:
    with Processor(pose) as processor:
        return processor.process(Frame(image, independent=True))[0].output


def watch(pose: Pose, clip: Path, mode: str, limit: int) -> list[People]:
    processor = Processor(pose, pose.make_stage(SteadyOptions.of(mode)))
    return [result.output for result in Stream(str(clip), processor, ["null://"], limit=limit)]


def images(data_root: Path, *sources: str) -> list[np.ndarray]:
    paths = [path for source in sources for path in sorted((data_root / "photos/val").glob(f"{source}*"))]
    assert len(paths) > 5
    return [cv2.imread(str(path)) for path in paths]


def test_empty_rooms_hold_nobody(pose, data_root):
    counts = [len(look(pose, image)) for image in images(data_root, "houses", "huts")]
    assert sum(count > 0 for count in counts) <= 1, f"of {len(counts)}"


def test_a_wall_of_posters_shows_the_people_of_the_posters_and_no_one_between(pose, data_root):
    wall = np.full((760, 1280, 3), (196, 205, 210), np.uint8)
    boxes = []
    for place, poster in enumerate(images(data_root, "ccp")[:8]):
        height, width = 330, round(poster.shape[1] * 330 / poster.shape[0])
        left, top = 40 + 310 * (place % 4), 30 + 370 * (place // 4)
        wall[top : top + height, left : left + width] = cv2.resize(
            poster, (width, height), interpolation=cv2.INTER_AREA
        )
        boxes.append((left, top, left + width, top + height))
    people = look(pose, wall)
    shown = set()
    for person in people.people:
        seen = person.keypoints[person.keypoints[:, 2] >= 0.3, :2]
        homes = [i for i, (x0, y0, x1, y1) in enumerate(boxes) if (seen > (x0 - 12, y0 - 12)).all()
                 and (seen < (x1 + 12, y1 + 12)).all()]  # fmt: skip
        assert len(homes) == 1, "a skeleton that spans two posters, or lies between them"
        shown |= set(homes)
    assert len(shown) == len(people) >= 5, "each once; six at most are followed"


@pytest.mark.parametrize("mode", ["off", "keyframe"])
def test_two_who_cross_keep_their_ids(pose, data_root, mode):
    """A girl jumps on a bed in front of a boy, who leaves to the left and comes back."""
    people = watch(pose, data_root / "videos/bedroom.mp4", mode, 200)
    girl = [next((p for p in one.people if p.id == 1), None) for one in people]
    assert sum(p is not None for p in girl) >= 195
    middles = np.array([p.keypoints[:, 0].mean() for p in girl if p is not None])
    assert np.abs(np.diff(middles)).max() < 60, "pixels; the boy is 150 to 300 away when both are seen apart"
    assert len(people[-1]) == 2
    assert len({p.id for one in people for p in one.people}) <= 4
    for one in people:
        assert len({p.id for p in one.people}) == len(one)


def test_one_who_leaves_is_forgotten_at_once_and_the_next_is_somebody_else(pose, data_root):
    """An empty room until frame 60, a woman at a table, nobody from 200 on, a man from about 235 on."""
    people = watch(pose, data_root / "videos/one-by-one-person-detection.mp4", "keyframe", 330)
    counts = [len(one) for one in people]
    assert not any(counts[:55]) and not any(counts[204:222])
    woman = {p.id for one in people[100:180] for p in one.people}
    man = {p.id for one in people[260:] for p in one.people}
    assert len(woman) == len(man) == 1 and woman != man
    assert all(counts[100:180]) and all(counts[260:])


def test_who_comes_back_keeps_the_id(pose, data_root):
    """The clip of the woman, and after forty empty frames of the same room the same clip again."""
    capture = cv2.VideoCapture(str(data_root / "videos/one-by-one-person-detection.mp4"))
    frames = [capture.read()[1] for _ in range(180)]
    order = enumerate([*frames[90:120], *frames[0:40], *frames[80:120]])
    with Processor(pose) as processor:
        results = processor.process_all(Frame(pixels, i, time_ns=i * 100_000_000) for i, pixels in order)
        ids = [[person.id for person in result.output.people] for result in results]
    assert ids[25] == [1] and ids[-1] == [1]
    assert [] in ids[40:70]
