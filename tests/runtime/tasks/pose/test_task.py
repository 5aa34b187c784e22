"""The pose task on a stand-in network that sees painted people: who is found, followed, lost, and known again."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import cv2
import numpy as np
import pytest
from steadyframe.runtime.bundle.manifest import Graph, GraphFile, Manifest, Preprocess, Skeleton, TensorSpec
from steadyframe.runtime.errors import BundleError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.pose.people import People
from steadyframe.runtime.tasks.pose.smoothing import PeopleStage
from steadyframe.runtime.tasks.pose.task import ROLE, Pose, averaged
from steadyframe.runtime.tasks.pose.tracker import tiles
from steadyframe.runtime.tasks.registry import build_task
from steadyframe.runtime.tasks.sessions import TaskSessions
from steadyframe.runtime.temporal.options import SteadyOptions
from steadyframe.runtime.temporal.stage import EveryFrame

SIZE = 96
NAMES = ("nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip")
SKELETON = Skeleton("five", NAMES, ((1, 2), (3, 4)), (0, 2, 1, 4, 3))
# where each joint is painted, in units of the person's height, and its grey level
BODY = np.array([[0, -0.45], [0.2, -0.25], [-0.2, -0.25], [0.15, 0.45], [-0.15, 0.45]])
LEVELS = (60, 95, 150, 190, 225)


def manifest(**settings: float) -> Manifest:
    spec = TensorSpec("frame", "uint8", (1, SIZE, SIZE, 3), "NHWC")
    graph = Graph(
        {"fp32": GraphFile("pose.onnx", "0" * 64)}, (spec,), (spec,), Preprocess("area", size_hw=(SIZE, SIZE))
    )
    return Manifest(name="painted", task="pose", version="1", licence="CC0-1.0", graphs={ROLE: graph},
                    skeleton=SKELETON, settings=settings)  # fmt: skip


def paint(
    *people: tuple[float, float, float, tuple[int, int, int]], size_wh: tuple[int, int] = (320, 240)
) -> np.ndarray:
    """People as discs on black: centre, height, color of the torso; joints are grey discs of their own level."""
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    for x, y, height, color in people:
        cv2.rectangle(image, (round(x - 0.12 * height), round(y - 0.2 * height)),
                      (round(x + 0.12 * height), round(y + 0.4 * height)), color, -1)  # fmt: skip
        for (dx, dy), level in zip(BODY, LEVELS, strict=True):
            at = (round(float(x + dx * height)), round(float(y + dy * height)))
            cv2.circle(image, at, max(2, round(height / 11)), (level, level, level), -1)
    return image


class PaintedNetwork:
    """Finds the grey discs nearest to the middle, and every torso; counts its runs."""

    device = "painted"
    inputs = outputs = ()

    def __init__(self) -> None:
        self.runs = 0

    def run(self, feeds):
        self.runs += 1
        pixels = feeds["frame"][0].astype(int)
        assert pixels.shape == (SIZE, SIZE, 3)
        grey = (np.abs(pixels[..., 0] - pixels[..., 1]) < 6) & (np.abs(pixels[..., 1] - pixels[..., 2]) < 6)
        keypoints = np.zeros((1, len(NAMES), 3), np.float32)
        for joint, level in enumerate(LEVELS):
            like = (grey & (np.abs(pixels[..., 0] - level) < 9)).astype(np.uint8)
            rows, columns = np.nonzero(cv2.erode(like, np.ones((3, 3), np.uint8)))  # not the rim of a brighter disc
            if len(rows):
                middle = np.hypot(rows - SIZE / 2, columns - SIZE / 2)
                mine = middle < middle.min() + SIZE / 9  # the person in the middle, not the neighbour
                keypoints[0, joint] = (columns[mine].mean(), rows[mine].mean(), 0.9)
        people = np.zeros((1, 12, 4), np.float32)
        colorful = (pixels.max(2) - pixels.min(2)) > 60
        for slot, (x, y, side) in enumerate(_islands(colorful)):
            people[0, slot] = (x, y, side, 0.9)
        presence = np.array([keypoints[0, :, 2].mean()], np.float32)
        return {"keypoints": keypoints, "presence": presence, "people": people, "maps": np.zeros((1, 5, 2, 2))}

    def close(self) -> None:
        pass


def _islands(mask: np.ndarray) -> list[tuple[float, float, float]]:
    count, _, stats, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    found = [(*centres[i], max(stats[i, 2:4]) / 0.6) for i in range(1, count) if stats[i, 4] > 6]
    return [(float(x), float(y) - 0.1 * side, float(side)) for x, y, side in found][:12]


RED, BLUE = (40, 40, 220), (220, 60, 40)


def sessions(network: PaintedNetwork) -> TaskSessions:
    return TaskSessions({ROLE: network}, name="pose")


class Watched:
    """A stream of painted people, without a temporal stage."""

    def __init__(self, pose: Pose) -> None:
        self.pose = pose
        self._processor = Processor(pose)

    def look(self, image: np.ndarray, index: int = 0, *, independent: bool = False) -> People:
        frame = Frame(image, index, time_ns=index * 33_000_000, independent=independent)
        (result,) = self._processor.process(frame)
        return result.output


@pytest.fixture
def network() -> PaintedNetwork:
    return PaintedNetwork()


@pytest.fixture
def watched(network: PaintedNetwork) -> Watched:
    return Watched(Pose(manifest(find_every=5), sessions(network)))


def truth(x: float, y: float, height: float) -> np.ndarray:
    return BODY * height + (x, y)


class Farsighted(PaintedNetwork):
    """Finds no place in an image, however well it sees who stands in a crop."""

    def run(self, feeds):
        return super().run(feeds) | {"people": np.zeros((1, 12, 4), np.float32)}


def test_who_fills_the_image_is_followed_though_no_place_in_it_is_found():
    watched = Watched(Pose(manifest(find_every=5), sessions(Farsighted())))
    people = watched.look(paint((160, 120, 200, RED)))
    assert len(people) == 1
    assert np.abs(people.people[0].keypoints[:, :2] - truth(160, 120, 200)).max() < 4
    assert len(watched.look(paint((160, 120, 200, RED)), 1)) == 1
    assert len(Watched(Pose(manifest(), sessions(Farsighted()))).look(paint())) == 0


class Batched(PaintedNetwork):
    """Takes any number of crops at once, and notes how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def run(self, feeds):
        self.sizes.append(len(feeds["frame"]))
        each = [PaintedNetwork.run(self, {"frame": crop[None]}) for crop in feeds["frame"]]
        return {name: np.concatenate([one[name] for one in each]) for name in each[0]}


@pytest.mark.parametrize("mirror", [0, 1])
def test_everybody_of_a_frame_is_looked_at_in_one_run(mirror):
    scene = paint((80, 118, 120, RED), (230, 118, 120, BLUE))
    axes = ("batch", SIZE, SIZE, 3)
    plain = manifest(find_every=5, mirror=mirror)
    spec = TensorSpec("frame", "uint8", axes, "NHWC")
    graph = dataclasses.replace(plain.graphs[ROLE], inputs=(spec,))
    network = Batched()
    together = Watched(Pose(dataclasses.replace(plain, graphs={ROLE: graph}), sessions(network)))
    alone = Watched(Pose(plain, sessions(PaintedNetwork())))
    for index in range(3):
        network.sizes.clear()
        ours, theirs = together.look(scene, index), alone.look(scene, index)
        assert len(ours) == len(theirs) == 2
        for one, other in zip(ours.people, theirs.people, strict=True):
            assert one.id == other.id and np.array_equal(one.keypoints, other.keypoints)
    assert network.sizes == [2 * (1 + mirror)]


def test_a_mirrored_look_changes_nothing_for_a_network_that_is_never_wrong_but_costs_a_run(network):
    plain = Watched(Pose(manifest(), sessions(network))).look(paint((150, 118, 150, RED)))
    once, network.runs = network.runs, 0
    twice = Watched(Pose(manifest(mirror=1), sessions(network))).look(paint((150, 118, 150, RED)))
    assert network.runs > once
    assert len(plain) == len(twice) == 1
    found = [people.people[0].keypoints for people in (plain, twice)]
    # the painted network gives left and right by grey level, so a mirrored body has its sides exchanged
    assert np.abs(found[1][0, :2] - found[0][0, :2]).max() < 2


def test_two_looks_are_averaged_where_they_agree_and_the_surer_one_counts_where_not():
    first = np.array([[10, 10, 0.9], [50, 50, 0.2]], np.float32)
    second = np.array([[12, 10, 0.3], [90, 50, 0.8]], np.float32)
    joints = averaged(first, second, 5.0)
    assert joints[0] == pytest.approx((10.5, 10, 0.6)) and joints[1] == pytest.approx((90, 50, 0.5))


@pytest.mark.parametrize("size_wh", [(320, 240), (240, 320), (640, 360), (96, 96)])
def test_joints_come_back_in_pixels_of_the_frame(watched, size_wh):
    x, y, height = size_wh[0] * 0.55, size_wh[1] * 0.48, size_wh[1] * 0.6
    people = watched.look(paint((x, y, height, RED), size_wh=size_wh))
    assert len(people) == 1
    found = people.people[0].keypoints
    assert np.abs(found[:, :2] - truth(x, y, height)).max() < max(1.5, height / 60)
    assert people.people[0].score > 0.8


@pytest.mark.parametrize("alone", [False, True])
def test_an_empty_room_holds_nobody_and_costs_one_look_a_frame(watched, network, alone):
    for index in range(4):
        assert len(watched.look(np.full((240, 320, 3), 30, np.uint8), index, independent=alone)) == 0
    parts = len(tiles((320, 240), SIZE)) - 1
    assert parts == 6 and network.runs == 4 + 4 * parts * alone, "an image that stands alone is searched all over"


def test_a_person_is_followed_with_one_look_a_frame(watched, network):
    ids = {watched.look(paint((60 + 3 * i, 120, 110, RED)), i).people[0].id for i in range(12)}
    assert ids == {1}
    # the whole image + two close looks at birth, then one a frame and another look for somebody new every five; a
    # part shows the same person larger, and that place is looked at closely once
    assert network.runs <= 1 + 2 + 11 + 2 + 2


def test_several_people_are_told_apart_and_the_nearest_comes_first(watched):
    people = watched.look(paint((70, 120, 90, RED), (230, 120, 140, BLUE)))
    assert [round(person.keypoints[:, 0].mean()) for person in people.people] == [230, 70]
    assert len({person.id for person in people.people}) == 2


def test_somebody_new_is_found_beside_the_one_who_is_followed(watched):
    for index in range(3):
        assert len(watched.look(paint((70, 120, 100, RED)), index)) == 1
    counts = [len(watched.look(paint((70, 120, 100, RED), (240, 120, 100, BLUE)), index)) for index in range(3, 9)]
    assert counts[-1] == 2


def test_who_leaves_is_lost_and_who_comes_back_keeps_the_id(watched):
    for index in range(10):
        watched.look(paint((70, 120, 100, RED), (240, 120, 100, BLUE)), index)
    before = {
        round(p.keypoints[:, 0].mean()): p.id
        for p in watched.look(paint((70, 120, 100, RED), (240, 120, 100, BLUE))).people
    }
    for index in range(10, 18):
        people = watched.look(paint((240, 120, 100, BLUE)), index)
    assert [person.id for person in people.people] == [before[240]]
    for index in range(18, 26):
        people = watched.look(paint((60, 100, 100, RED), (240, 120, 100, BLUE)), index)
    assert {round(person.keypoints[:, 0].mean()): person.id for person in people.people} == {
        60: before[70],
        240: before[240],
    }


def test_who_is_too_small_for_the_whole_image_is_found_in_a_part_of_it(watched):
    small = (500, 300, 24, RED)
    whole, _, _ = watched.pose._places(paint(small, size_wh=(640, 480)), tiles((640, 480), SIZE)[0])
    assert not whole, "or the test is too easy"
    people = watched.look(paint(small, size_wh=(640, 480)), independent=True)
    assert len(people) == 1
    assert np.abs(people.people[0].keypoints[:, :2] - truth(*small[:3])).max() < 3


def test_who_enters_far_away_is_found_by_looking_at_one_part_after_the_other(watched):
    empty = np.zeros((480, 640, 3), np.uint8)
    assert len(watched.look(empty)) == 0
    found = [len(watched.look(paint((500, 300, 24, RED), size_wh=(640, 480)), index)) for index in range(1, 14)]
    assert found[-1] == 1


def test_a_place_that_was_looked_at_in_vain_is_left_alone_for_a_while(watched, network):
    coat = np.zeros((240, 320, 3), np.uint8)
    cv2.rectangle(coat, (140, 60), (180, 160), RED, -1)
    for index in range(11):
        assert len(watched.look(coat, index)) == 0
    # the whole image, one look a frame, and the close ones: at the start, and twice again
    assert network.runs <= 1 + 10 + 3 * 3


def test_nobody_is_followed_twice(watched):
    for index in range(30):
        people = watched.look(paint((100 + 2 * index, 120, 110, RED), (240, 120, 110, BLUE)), index)
        assert len({person.id for person in people.people}) == len(people)
        middles = sorted(person.keypoints[:, 0].mean() for person in people.people)
        assert all(b - a > 5 for a, b in pairwise(middles))


def test_images_of_a_folder_know_nothing_of_each_other(watched):
    first = watched.look(paint((70, 120, 100, RED)), independent=True)
    assert len(watched.look(np.zeros((240, 320, 3), np.uint8), 1, independent=True)) == 0
    third = watched.look(paint((200, 120, 100, BLUE)), 2, independent=True)
    assert third.people[0].id == first.people[0].id == 1


def test_the_json_names_the_joints_and_the_image_shows_them(watched):
    image = paint((150, 120, 120, RED))
    people = watched.look(image)
    (person,) = json.loads(json.dumps(people.as_json()))["people"]
    assert list(person) == ["id", "score", "bbox", "keypoints"] and list(person["keypoints"]) == list(NAMES)
    x, y, w, h = person["bbox"]
    for px, py, score in person["keypoints"].values():
        assert x - 0.2 <= px <= x + w + 0.2 and y - 0.2 <= py <= y + h + 0.2 and 0 <= score <= 1
    assert (people.pixels != image).any() and people.pixels is not image
    assert people.pixels is people.pixels, "drawn once"
    for overlay in (False, "false", "No", 0):
        plain = Watched(build_task(manifest(), {ROLE: PaintedNetwork()}, {"overlay": overlay}))
        assert plain.look(image).pixels is image


def walk(count: int, *, step: int = 4, start: int = 80) -> list[Frame]:
    """Somebody goes to the right in front of a wall that is not plain."""
    noise = np.random.default_rng(0).integers(0, 40, (240, 320, 3), dtype=np.uint8)
    frames = []
    for index in range(count):
        image = paint((start + step * index, 120, 130, RED))
        image = np.where(image.any(2, keepdims=True), image, noise)
        frames.append(Frame(image, index, time_ns=index * 40_000_000))
    return frames


@pytest.mark.parametrize("mode", ["blend", "keyframe"])
def test_a_stream_follows_with_and_without_looking_at_every_frame(mode, network, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for frame in walk(24):
        cv2.imwrite(str(folder / f"{frame.index:03d}.png"), frame.pixels)
    pose = Pose(manifest(), sessions(network))
    processor = Processor(pose, pose.make_stage(SteadyOptions.of(mode)))
    results = list(Stream(open_source(str(folder), sequence=True), processor, ["null://"]))
    assert len(results) == 24
    assert [result.keyframe for result in results[:5]] == (
        [True] * 5 if mode == "blend" else [True, False, False, True, False]
    )
    for index, result in enumerate(results):
        assert [person.id for person in result.output.people] == [1]
        error = result.output.people[0].keypoints[:, :2] - truth(80 + 4 * index, 120, 130)
        assert np.abs(error).mean() < 6, (index, error)
    assert network.runs < (24 if mode == "keyframe" else 40)


@pytest.mark.parametrize("live", [False, True])
def test_the_stage_of_people_never_looks_ahead(live):
    pose = Pose(manifest(), sessions(PaintedNetwork()))
    assert isinstance(pose.make_stage(SteadyOptions(mode="off"), live=live), EveryFrame)
    stage = pose.make_stage(SteadyOptions(), live=live)
    assert isinstance(stage, PeopleStage) and stage.lookahead == 0


def test_a_cut_forgets_where_people_were():
    pose = Pose(manifest(), sessions(PaintedNetwork()))
    images = [paint((80, 120, 130, RED))] * 6 + [np.full((240, 320, 3), 200, np.uint8)] * 3
    frames = [Frame(image, index, time_ns=index * 33_000_000) for index, image in enumerate(images)]
    with Processor(pose, pose.make_stage(SteadyOptions.of("keyframe"))) as processor:
        shown = [len(result.output) for result in processor.process_all(frames)]
    assert shown == [1] * 6 + [0] * 3


@pytest.mark.parametrize("mode", ["off", "keyframe"])
def test_a_task_that_is_used_again_knows_nothing_of_the_old_stream(mode):
    """Neither its flows, which would move the ROIs, nor its people, who would keep their ids."""
    used, fresh = (Pose(manifest(find_every=2), sessions(PaintedNetwork())) for _ in range(2))
    with Processor(used, used.make_stage(SteadyOptions.of("keyframe", every=5))) as processor:
        steps = [processor.prepare(frame) for frame in walk(4, step=12, start=200)]
        assert len(steps[-1].motion.flows) == 3, "or there is nothing to forget"
        processor.finish(steps[0], processor.infer(steps[0]))
    assert "flows" not in used.preprocess(walk(1)[0])[0]
    found = []
    for pose in (used, fresh):
        with Processor(pose, pose.make_stage(SteadyOptions.of(mode))) as processor:
            found.append([result.output for result in processor.process_all(walk(8))])
    for again, first in zip(*found, strict=True):
        assert again.as_json() == first.as_json()
        assert [person.id for person in again.people] == [1]


@pytest.mark.parametrize("settings", [{"find_score": 2}, {"find_every": 0}, {"max_people": 1.5}, {"color": 1}])
def test_settings_that_make_no_sense_are_the_bundles(settings):
    with pytest.raises(BundleError, match="settings of bundle 'painted'"):
        Pose(manifest(**settings), sessions(PaintedNetwork()))


@pytest.mark.parametrize("options", [{"find_score": 2}, {"find_every": 0}, {"max_people": 1.5}, {"find_score": "x"}])
def test_options_that_make_no_sense_are_the_users(options):
    with pytest.raises(UsageError):
        build_task(manifest(), {ROLE: PaintedNetwork()}, options)


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(UsageError, match="no such option"):
        build_task(manifest(), {ROLE: PaintedNetwork()}, {"color": 1})


def test_a_bundle_without_a_skeleton_is_refused():
    bare = Manifest(name="bare", task="pose", version="1", licence="none", graphs=manifest().graphs)
    with pytest.raises(BundleError, match="not complete"):
        Pose(bare, sessions(PaintedNetwork()))
