"""Cutting labelled people out of photos and clips, and what augmentation does with them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from steadyframe.models.pose.augment import Cropper, Look, disturb, moved, sampled
from steadyframe.models.pose.labels import AGREED, APART, SWAPPED, Opinion, merged, taught
from steadyframe.models.pose.people import CONTEXT, People, load_people
from steadyframe.models.pose.photos import SIDE, load_photos
from steadyframe.models.pose.scenes import ELEMENTS, SceneMaker
from steadyframe.models.pose.skeleton import SKELETONS
from steadyframe.runtime.errors import SourceNotFound

UNION = SKELETONS["union-19"]
PLACE = {name: i for i, name in enumerate(UNION.joints)}


def load(root: Path, cache: Path, name: str, exclude=()) -> People:
    return load_people([root / name], UNION, root=root, size=160, cache=cache, exclude=exclude)


def test_a_person_is_cut_twice_as_large_as_the_box_and_labels_come_along(pose_data, tmp_path):
    people = load(pose_data, tmp_path, "pose/lspet/train.json")
    labels = json.loads((pose_data / "pose/lspet/train.json").read_text())
    names = labels["categories"][0]["keypoints"]
    assert len(people) == 6 and people.crops.shape == (6, 160, 160, 3)
    for index, person in enumerate(labels["annotations"]):
        marked = np.array(person["keypoints"]).reshape(-1, 3)
        left, top, scale = people.frame[index]
        assert scale * 160 == pytest.approx(CONTEXT * max(person["bbox"][2:]), abs=1)
        for name, (x, y, visible) in zip(names, marked, strict=True):
            assert (people.known[index, PLACE[name]] > 0) == (visible > 0)
            if visible:
                back = (people.joints[index, PLACE[name]] + 0.5) * scale - 0.5 + (left, top)
                assert back == pytest.approx((x, y), abs=1e-2)
    assert not people.known[:, PLACE["nose"]].any(), "LSP has no nose"


def test_the_pixels_under_a_joint_are_the_images(pose_data, tmp_path):
    people = load(pose_data, tmp_path, "pose/pseudo/photos.json")
    labels = json.loads((pose_data / "pose/pseudo/photos.json").read_text())
    image = cv2.imread(str(pose_data / labels["images"][0]["file_name"]))
    joint = PLACE["left_hip"]
    x, y = np.array(labels["annotations"][0]["keypoints"]).reshape(-1, 3)[joint, :2]
    u, v = people.joints[0, joint]
    size = round(6 / people.frame[0, 2])
    there = image[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4].mean((0, 1))
    here = people.crops[0][
        round(v) - size // 2 : round(v) + size // 2 + 1, round(u) - size // 2 : round(u) + size // 2 + 1
    ]
    assert np.abs(here.mean((0, 1)) - there).max() < 12


def test_frames_of_clips_are_decoded_and_trust_is_the_score(pose_data, tmp_path):
    people = load(pose_data, tmp_path, "pose/pseudo/videos.json")
    assert set(people.groups) == {"bedroom", "webcam_brother", "webcam_hungry"}
    assert (people.crops.reshape(6, -1).std(1) > 10).all()
    assert 0.5 < people.known[people.known > 0].min() <= people.known.max() <= 1
    webcam = people.in_groups(["webcam"])
    assert people.absent[webcam][:, PLACE["left_knee"]].all(), "the image ends above the knees"
    assert not people.absent[~webcam][:, PLACE["left_knee"]].any()


def test_held_out_images_stay_out(pose_data, tmp_path):
    people = load(pose_data, tmp_path, "pose/pseudo/videos.json", exclude=("webcam_hungry",))
    assert len(people) == 4 and "webcam_hungry" not in people.groups


def test_the_second_call_reads_the_cache(pose_data, tmp_path):
    first = load(pose_data, tmp_path, "pose/lspet/val.json")
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    second = load(pose_data, tmp_path, "pose/lspet/val.json")
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} and len(stamps) == 2
    assert (first.crops == second.crops).all() and (first.joints == second.joints).all()


def test_missing_labels_and_images_are_named(pose_data, tmp_path):
    with pytest.raises(SourceNotFound, match="no label file"):
        load(pose_data, tmp_path, "pose/none.json")
    labels = json.loads((pose_data / "pose/lspet/val.json").read_text())
    labels["images"][0]["file_name"] = "images/none.webp"
    (tmp_path / "broken.json").write_text(json.dumps(labels))
    with pytest.raises(SourceNotFound, match="image that is not there") as raised:
        load_people([tmp_path / "broken.json"], UNION, root=tmp_path, size=64, cache=tmp_path)
    assert raised.value.found == "images/none.webp"


def test_a_look_puts_its_centre_into_the_middle_and_is_undone_by_its_inverse():
    look = Look(np.array([70, 40], np.float32), 1.7, 0.4, True)
    matrix = look.matrix(96)
    assert moved(matrix, look.centre[None])[0] == pytest.approx((47.5, 47.5), abs=1e-4)
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(-1 / 1.7**2)
    points = np.random.default_rng(0).uniform(0, 100, (5, 2)).astype(np.float32)
    back = cv2.invertAffineTransform(matrix)
    assert np.abs(moved(back, moved(matrix, points)) - points).max() < 1e-3


@pytest.mark.parametrize("scale", [0.7, 1.3, 2.5, 6.0])
def test_a_dot_lands_where_its_label_does(scale):
    ground = np.zeros((320, 320, 3), np.uint8)
    cv2.circle(ground, (210, 130), round(5 * scale), (255, 255, 255), -1)
    matrix = Look(np.array([190, 150], np.float32), scale, 0.3, True).matrix(96)
    image = sampled(ground, matrix, (96, 96))
    rows, columns = np.nonzero(image[..., 0] > 200)
    expected = moved(matrix, np.array([[210, 130]], np.float32))[0]
    assert (columns.mean(), rows.mean()) == pytest.approx(tuple(expected), abs=0.6)


def test_a_mirrored_person_has_the_left_hand_on_the_right(pose_data, tmp_path):
    people = load(pose_data, tmp_path, "pose/pseudo/photos.json")
    cropper = Cropper(people, UNION, np.random.default_rng(0))
    look = Look(cropper.middle(), 1.0)
    plain = cropper._cut(0, look, 160)
    mirrored = cropper._cut(0, Look(cropper.middle(), 1.0, 0.0, True), 160)
    assert np.abs(mirrored.image[:, ::-1].astype(int) - plain.image).mean() < 2
    left, right = PLACE["left_shoulder"], PLACE["right_shoulder"]
    assert mirrored.joints[left] == pytest.approx((159 - plain.joints[right][0], plain.joints[right][1]), abs=1e-3)
    assert mirrored.weight[left] == plain.weight[right]


def test_random_crops_keep_their_labels_inside_or_call_them_hidden(pose_data, tmp_path):
    people = load(pose_data, tmp_path, "pose/pseudo/photos.json")
    cropper = Cropper(people, UNION, np.random.default_rng(1))
    shown = 0
    for turn in range(60):
        sample = cropper.random(turn % len(people), 96, wild=turn % 2 == 0)
        assert sample.image.shape == (96, 96, 3) and sample.image.dtype == np.uint8
        at = sample.joints[sample.shown]
        assert ((at >= 0) & (at <= 95)).all()
        assert (sample.weight[sample.shown] > 0).all()
        shown += int(sample.shown.sum())
    assert shown > 60 * 6, "most joints stay in the image"


def test_disturbance_changes_images_and_is_drawn_from_its_own_generator(pose_data, tmp_path):
    people = load(pose_data, tmp_path, "pose/lspet/val.json")
    image, other = people.crops[0], people.crops[1]
    cv2.setRNGSeed(0)
    one = [disturb(image.copy(), other, np.random.default_rng(i)) for i in range(12)]
    assert all(np.abs(o.astype(int) - image).mean() > 1 for o in one)
    assert len({o.tobytes() for o in one}) == 12


def test_scenes_say_who_is_in_them(pose_data, tmp_path):
    people = load_people([pose_data / "pose/pseudo/photos.json"], UNION, root=pose_data, size=160, cache=tmp_path)
    photos = load_photos(pose_data / "pose/teacher/whole_train.json", root=pose_data, cache=tmp_path)
    rng = np.random.default_rng(0)
    maker = SceneMaker(Cropper(people, UNION, rng), photos, np.cumsum(photos.nobody.astype(float)))
    counts = []
    for _ in range(60):
        scene = maker.compose(rng.integers(0, len(people), ELEMENTS), 96)
        real = scene.boxes[:, 2] > 0
        assert scene.sure and scene.empty == (not real.any())
        sides = scene.boxes[real][:, 2:].max(1) if real.any() else np.zeros(1)
        assert (sides <= 0.9 * 96).all()
        counts.append(int(real.sum()))
    assert min(counts) == 0 and max(counts) >= 2
    real = [maker.peopled(96) for _ in range(30)]
    assert sum((scene.boxes[:, 2] > 8).any() for scene in real) > 15 and not any(scene.empty for scene in real)
    for scene in real:
        low, high = scene.boxes[:, :2] - scene.boxes[:, 2:] / 2, scene.boxes[:, :2] + scene.boxes[:, 2:] / 2
        assert (low >= -1e-3).all() and (high <= 95 + 1e-3).all(), "boxes end where the image ends"
    for scene in (maker.empty(96) for _ in range(10)):
        assert scene.sure and scene.empty and not scene.boxes.any()


def test_whole_photos_keep_their_boxes_and_tell_sure_from_unsure(pose_data, tmp_path):
    labels = json.loads((pose_data / "pose/teacher/whole_train.json").read_text())
    photos = load_photos(pose_data / "pose/teacher/whole_train.json", root=pose_data, cache=tmp_path)
    assert len(photos) == len(labels["images"]) and 0 < photos.nobody.sum() < len(photos)
    for number, image in enumerate(labels["images"]):
        here = [a for a in labels["annotations"] if a["image_id"] == image["id"]]
        sure = [a for a in here if a.get("sure")]
        assert (photos.boxes[number, :, 2] > 0).sum() == min(len(sure), photos.boxes.shape[1])
        assert (photos.ignored[number, :, 2] > 0).sum() == min(len(here) - len(sure), photos.ignored.shape[1])
        assert photos.nobody[number] == (not sure)
        if not sure:
            continue
        person = max(sure, key=lambda a: max(a["bbox"][2:]))
        x, y, w, h = person["bbox"]
        side = max(image["width"], image["height"])
        left, top = (image["width"] - side) // 2, (image["height"] - side) // 2
        expected = np.array((x + w / 2 - left, y + h / 2 - top)) * SIDE / side
        distances = np.abs(photos.boxes[number, :, :2] - expected).max(1)
        assert distances.min() < 0.2 * max(w, h) * SIDE / side


def test_a_person_is_labelled_by_the_rules_of_agreement():
    count = len(UNION.joints)
    joints = np.zeros((count, 2), np.float32)
    standing = {"left_shoulder": (60, 20), "right_shoulder": (40, 20), "left_hip": (58, 60), "right_hip": (42, 60),
                "left_wrist": (70, 50), "right_wrist": (30, 50), "left_knee": (58, 80),
                "right_knee": (42, 80)}  # fmt: skip
    for name, at in standing.items():
        joints[PLACE[name]] = at
    known = np.array([name in standing for name in UNION.joints], np.float32)
    older = Opinion(joints, known, known, np.full(count, -1))
    seen = joints.copy()
    seen[PLACE["left_wrist"]] += 2
    seen[PLACE["right_wrist"]] += 30
    seen[PLACE["nose"]] = (50, 5)
    agree = np.full(count, -1)
    for name in standing:
        agree[PLACE[name]] = AGREED
    agree[PLACE["right_wrist"]] = APART
    agree[PLACE["left_knee"]] = agree[PLACE["right_knee"]] = SWAPPED
    sure = known.copy()
    sure[PLACE["nose"]], sure[PLACE["right_knee"]] = 1, 0
    teacher = Opinion(seen, sure, np.full(count, 0.8, np.float32), agree)
    at, weight = merged(older, teacher, UNION)
    assert at[PLACE["left_wrist"]] == pytest.approx((71, 51)) and weight[PLACE["left_wrist"]] == 1
    assert at[PLACE["right_wrist"]] == pytest.approx((60, 80)) and weight[PLACE["right_wrist"]] == 0.5
    assert at[PLACE["right_knee"]] == pytest.approx((42, 80)) and weight[PLACE["right_knee"]] == 0.5, "unsure"
    assert weight[PLACE["nose"]] == pytest.approx(0.3) and weight[PLACE["left_ankle"]] == 0
    upside_down = older.joints * (1, -1) + (0, 100)
    older = Opinion(upside_down.astype(np.float32), known, known, older.agree)
    weight = merged(older, teacher, UNION)[1]
    assert weight[PLACE["left_knee"]] == 0, "swapped"
    assert weight[PLACE["right_wrist"]] == pytest.approx(0.3)


def test_a_back_view_has_no_face(pose_data, tmp_path):
    count = len(UNION.joints)
    joints = np.random.default_rng(0).uniform(0, 10, (count, 2)).astype(np.float32)
    for name, at in {
        "left_shoulder": (40, 20),
        "right_shoulder": (60, 20),
        "left_hip": (42, 60),
        "right_hip": (58, 60),
    }.items():
        joints[PLACE[name]] = at
    ones = np.ones(count, np.float32)
    weight = taught(Opinion(joints, ones, ones, np.full(count, -1)), UNION)[1]
    face = [PLACE[name] for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
    assert not weight[face].any() and (np.delete(weight, face) == 1).all()
    joints[:, 0] = 100 - joints[:, 0]
    assert taught(Opinion(joints, ones, ones, np.full(count, -1)), UNION)[1][face] == pytest.approx(0.3)


def test_a_neighbour_and_a_photo_behind_leave_the_middle_of_the_crop(pose_data, tmp_path):
    people = load(pose_data, tmp_path, "pose/lspet/train.json")
    backgrounds = np.full((1, 64, 64, 3), (255, 0, 0), np.uint8)
    cropper = Cropper(people, UNION, np.random.default_rng(0), backgrounds=backgrounds)
    look = Look(cropper.middle(), 2.0)
    plain, filled = cropper._cut(0, look, 80), cropper._cut(0, look, 80)
    cropper._fill(filled, 0, look)
    left, top, right, bottom = moved(look.matrix(80), people.image_box[0].reshape(2, 2)).ravel()
    assert tuple(filled.image[1, 1]) == (255, 0, 0) and top > 4, "outside the image"
    inside = np.s_[int(top) + 2 : int(bottom) - 2, max(0, int(left) + 2) : int(right) - 2]
    assert (filled.image[inside] == plain.image[inside]).all()
    crowded = cropper._cut(0, look, 80)
    cropper._neighbour(crowded)
    changed = np.abs(crowded.image.astype(int) - plain.image).max(-1) > 8
    assert changed.any() and changed[30:50, 38:42].mean() < 0.5
