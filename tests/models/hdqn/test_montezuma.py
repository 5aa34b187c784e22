"""The first room: objects from the game's memory, the same objects from pixels, restarts."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from steadyframe.models.hdqn.montezuma import COLORS, SCENE, GameOptions, Montezuma
from steadyframe.models.hdqn.restarts import Archive, Restarts
from steadyframe.runtime.tasks.policy.detect import ColorDetector

pytest.importorskip("ale_py", reason="the game comes with ale-py (pip install 'steadyframe[rl]')")
FRAMES = 10_000


def walk(game, frames, *, seed=0):
    """Play at random, each action held for 4 decisions; yields the object vector of every decision."""
    rng, action = np.random.default_rng(seed), 0
    vector, _ = game.reset()
    for index in range(frames):
        if index % 4 == 0:
            action = int(rng.integers(len(SCENE.actions)))
        vector, _, ended, cut, _ = game.step(action)
        if ended or cut:
            vector, _ = game.reset()
        yield vector


def test_gymnasium_accepts_the_environment():
    check_env(Montezuma(), skip_render_check=True)


def test_memory_and_pixels_agree():
    game, detector = Montezuma(GameOptions(sticky=0.25), seed=5), ColorDetector(SCENE, COLORS)
    errors, wrong = [], 0
    for vector in walk(game, FRAMES):
        seen = detector(np.ascontiguousarray(game.render()[:, :, ::-1]))
        assert seen.agent_xy is not None
        hazard, present = vector[2 * SCENE.history], vector[2 * SCENE.history + 2 :]
        errors.append([seen.agent_xy[0] - vector[0], seen.agent_xy[1] - vector[1], seen.hazard_x - hazard])
        wrong += not np.array_equal(seen.present, present)
    x, y, hazard = np.abs(np.array(errors)).T
    assert len(x) == FRAMES
    assert wrong == 0
    assert hazard.max() <= 0.5
    assert (x <= 1).mean() > 0.995, "pixels; the rest are frames where the game moves the sprite one frame late"
    assert (y <= 3).mean() > 0.995


def test_a_snapshot_brings_back_game_and_vector():
    game = Montezuma(seed=3)
    vector = list(walk(game, 25))[-1]
    kept, screen = game.snapshot(), game.render().copy()
    assert np.array_equal(kept[2], vector)
    after = [game.step(3)[0] for _ in range(10)]
    again, _ = game.reset(options={"state": kept})
    assert np.array_equal(again, vector)
    assert [game.step(3)[0].tolist() for _ in range(10)] == [v.tolist() for v in after]
    game.reset(options={"state": kept})
    assert game.render().shape == screen.shape


def test_life_ends_the_episode_and_the_next_starts_at_the_top():
    game = Montezuma(GameOptions(max_noops=0), seed=1)
    game.reset()
    jump_off = [3] * 4 + [6] + [3] * 30  # to the right, over the edge of the platform
    for action in jump_off:
        vector, reward, ended, _, info = game.step(action)
        if ended:
            break
    assert ended
    assert info["life_lost"]
    assert reward == 0
    vector, _ = game.reset()
    assert vector[:2].tolist() == [79.5, 83.0]
    assert game.ale.lives() == 5


def test_goals_are_reached_by_position_or_by_taking():
    key = [goal.name for goal in SCENE.goals].index("key")
    before = np.zeros(SCENE.length, np.float32)
    before[2 * SCENE.history + 2 :] = 1
    after = before.copy()
    after[:2] = 112, 115
    names = [SCENE.goals[i].name for i in np.flatnonzero(SCENE.reached(before, after))]
    assert names == ["rope"]
    after[2 * SCENE.history + 2] = 0
    assert SCENE.reached(before, after)[key]
    assert not SCENE.allowed(after)[key]
    assert SCENE.allowed(before).all()


@pytest.mark.parametrize("kind", ["successes", "cells"])
def test_restarts_begin_where_the_archive_says(kind):
    archive = Archive(kind, rng=np.random.default_rng(0))
    game = Restarts(Montezuma(seed=2), archive, share=1.0)
    for _ in walk(game, 600):
        pass
    assert archive.cells, "a walk down from the start reaches goals and cells"
    kept = {tuple(state[2]) for states in archive.cells.values() for state in states}
    starts = {tuple(game.reset()[0]) for _ in range(20)}
    assert starts <= kept
