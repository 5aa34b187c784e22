"""The policy that moves a virtual camera: the view follows whoever is found in it."""

from itertools import pairwise

import numpy as np
import pytest
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_sessions
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.tasks.pose.people import People, Person
from steadyframe.runtime.tasks.registry import build_task

import steadyframe as sf

WIDTH, HEIGHT = 640, 360
SKELETON = Bundle.load("pose").manifest.skeleton


class Dot:
    """Stands for pose: the person's shoulders are at the bright dot of the view, if it is there."""

    def __init__(self):
        self.resets, self.closed = 0, 0

    def process(self, frame):
        rows, columns = np.nonzero(frame.pixels[..., 0] > 128)
        people = ()
        if len(rows):
            points = np.zeros((len(SKELETON.joints), 3), np.float32)
            points[:] = columns.mean(), rows.mean(), 0.9
            people = (Person(1, 0.9, (0, 0, 1, 1), points),)
        return [sf.Result(frame, People(people, SKELETON, frame))]

    def reset(self):
        self.resets += 1

    def close(self):
        self.closed += 1


def dots(places):
    """Frames with a bright dot at each place; None is a frame without one."""
    for index, place in enumerate(places):
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        if place is not None:
            x, y = (round(float(value)) for value in place)
            pixels[y - 4 : y + 5, x - 4 : x + 5] = 255
        yield sf.Frame(pixels, index)


def views(places, **options):
    finder = Dot()
    with sf.open_processor("policy-camera", device="cpu", options={"processor": finder, **options}) as processor:
        found = [processor.process(frame)[0].output for frame in dots(places)]
    assert finder.closed == 1, "the task closes what was opened for it"
    return found


def place_in_view(view):
    left, top, right, bottom = view.box
    x, y = view.subject_xy
    return (x - left) / (right - left), (y - top) / (bottom - top)


def test_a_standing_person_comes_to_the_center_and_stays():
    found = views([(430, 140)] * 120)
    late = np.array([place_in_view(view) for view in found[60:]])
    assert abs(late[:, 0] - 0.5).max() < 0.1
    assert abs(late[:, 1] - 0.5).max() < 0.12
    assert {view.goal_name for view in found[60:]} == {"center"}, "nobody is moved about for nothing"
    assert any(view.reached == "center" for view in found)


def test_the_rim_of_the_frame_stops_one_axis_and_not_the_other():
    found = views([(430, 80)] * 120)  # of a view of 400 x 225 pixels
    assert np.mean([view.box[1] for view in found[60:]]) < 0.04 * HEIGHT, "the view is about as high as it can be"
    assert 0.25 < place_in_view(found[-1])[0] < 0.75, "the other axis is where a goal is"


def test_a_walker_stays_in_view_and_gets_room_in_front():
    found = views([(150 + 3 * i, 180) for i in range(100)])
    assert all(view.subject_xy is not None for view in found)
    late = [place_in_view(view)[0] for view in found[50:90]]
    assert np.mean(late) < 0.47, "room lies in front of who walks to the right"


def test_the_view_moves_smoothly_and_stays_in_the_frame():
    found = views([(430, 140)] * 40 + [None] * 40)
    corners = np.array([view.box for view in found])
    assert (corners[:, :2] >= 0).all() and (corners[:, 2] <= WIDTH).all() and (corners[:, 3] <= HEIGHT).all()
    steps = np.abs(np.diff(corners[:, :2], axis=0)).max(1)
    assert steps.max() < 0.02 * WIDTH
    assert max(abs(b - a) for a, b in pairwise(steps)) < 0.006 * WIDTH, "no jerk of a whole step"


def test_the_view_goes_back_to_the_middle_once_nobody_was_seen_for_a_while():
    found = views([(500, 180)] * 60 + [None] * 100, patience=5)
    assert found[59].box[0] > 140
    assert found[-1].box[0] == pytest.approx((WIDTH - WIDTH / 1.6) / 2, abs=2)
    assert found[-1].subject_xy is None and found[-1].goal_box is None and found[-1].goal_name == ""


@pytest.mark.parametrize("y", [80, 140], ids=["at the rim", "inside"])
def test_the_view_stands_still_before_somebody_who_stands(y):
    jitter = np.random.default_rng(0).normal(0, 0.6, (160, 2))  # pixels, that of joints which pose finds
    found = views([(round(430 + 2 * max(0, 40 - i) + dx), round(y + dy)) for i, (dx, dy) in enumerate(jitter)])[80:]
    assert np.mean([view.action_name == "stay" for view in found]) > 0.9


def test_a_view_is_as_large_as_the_frame_and_says_what_it_shows():
    plain, drawn = (views([(430, 140)] * 3, overlay=shown)[-1] for shown in (0, 1))
    assert plain.pixels.shape == drawn.pixels.shape == (HEIGHT, WIDTH, 3)
    assert (plain.pixels != drawn.pixels).any()
    rows, columns = np.nonzero(plain.pixels[..., 0] > 128)
    assert (columns.mean() + 0.5) / WIDTH == pytest.approx(place_in_view(plain)[0], abs=0.01), "where the JSON says"
    assert (rows.mean() + 0.5) / HEIGHT == pytest.approx(place_in_view(plain)[1], abs=0.01)
    assert set(plain.as_json()) == {"goal", "action", "reached", "subject", "view"}


def test_a_restart_begins_in_the_middle():
    finder = Dot()
    with sf.open_processor("policy-camera", device="cpu", options={"processor": finder}) as processor:
        for frame in dots([(500, 180)] * 40):
            processor.process(frame)
        processor.reset()
        again = processor.process(next(dots([(500, 180)])))[0].output
    assert again.box[0] == pytest.approx((WIDTH - WIDTH / 1.6) / 2)
    assert finder.resets == 2


def test_options_of_another_policy_are_refused():
    with pytest.raises(UsageError, match="no such option"):
        sf.open_task("policy-camera", device="cpu", options={"epsilon": 0.1})
    with pytest.raises(UsageError, match="no such option"):
        sf.open_task("policy-montezuma", device="cpu", options={"zoom": 2})
    with pytest.raises(UsageError, match="zoom"):
        sf.open_task("policy-camera", device="cpu", options={"zoom": 0.5})
    bundle = Bundle.load("policy-camera")
    with pytest.raises(UsageError, match="follows what another task finds"):
        build_task(bundle.manifest, open_sessions(bundle, device="cpu"), owned=True)


@pytest.mark.data
def test_a_real_person_is_kept_in_view(data_root, tmp_path):
    clip = data_root / "videos" / "one-by-one-person-detection.mp4"
    with sf.open_stream("policy-camera", clip, [tmp_path / "out.mp4"], device="cpu", limit=150) as stream:
        found = [result.output for result in stream]
    late = [place_in_view(view) for view in found[100:] if view.subject_xy is not None]
    assert len(late) >= 45
    assert np.abs(np.array(late)[:, 0] - 0.5).mean() < 0.17, "at most at one of the thirds"
    assert (tmp_path / "out.mp4").stat().st_size > 10_000
