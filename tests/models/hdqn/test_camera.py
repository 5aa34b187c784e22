"""The world of a pan/tilt camera."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from steadyframe.models.hdqn.camera import CENTER, LEFT_THIRD, MOVES, RIGHT_THIRD, STEP, PanTilt, wanted

ACTIONS = list(MOVES)


def test_gymnasium_accepts_the_environment():
    check_env(PanTilt(), skip_render_check=True)


def test_turning_right_moves_the_subject_left():
    world = PanTilt()
    before, _ = world.reset(seed=1)
    after, *_ = world.step(ACTIONS.index("right"))
    assert after[0] - before[0] == pytest.approx(-STEP, abs=1.5)
    assert after[2:4].tolist() == [before[0] - STEP, before[1]], "the history lies in the view of now"


def test_room_lies_in_front_of_a_walker():
    assert [wanted(speed) for speed in (-2.0, -0.1, 0.0, 0.1, 2.0)] == [
        RIGHT_THIRD, CENTER, CENTER, CENTER, LEFT_THIRD,
    ]  # fmt: skip


def test_a_lost_subject_ends_the_episode_and_a_kept_one_pays():
    world = PanTilt()
    world.reset(seed=3)
    for _ in range(100):
        *_, lost, cut, _ = world.step(ACTIONS.index("left"))
        if lost:
            break
    assert lost
    assert not cut
    vector, _ = world.reset(seed=4)
    paid = 0.0
    for _ in range(60):  # a simple rule keeps the subject in the center
        off = vector[:2] - np.array((80, 45))
        axis = int(abs(off[1]) > abs(off[0]))
        name = (("right", "left"), ("down", "up"))[axis][int(off[axis] < 0)] if abs(off[axis]) > STEP else "stay"
        vector, reward, lost, _, _ = world.step(ACTIONS.index(name))
        paid += reward
        assert not lost
    assert paid >= 1
