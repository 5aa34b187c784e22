"""Games that were played, played again, and filmed."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from steadyframe.models.hdqn.deep import DeepOptions, DeepQ
from steadyframe.models.hdqn.film import film
from steadyframe.models.hdqn.montezuma import ACTIONS, SCENE, GameOptions
from steadyframe.models.hdqn.net import ObjectNet
from steadyframe.models.hdqn.play import Score, play_games, replay
from steadyframe.models.hdqn.teach import TaughtOrder

import steadyframe as sf

pytest.importorskip("ale_py", reason="the game comes with ale-py (pip install 'steadyframe[rl]')")
OPTIONS = GameOptions(sticky=0.25, one_life=False, max_decisions=150)


@pytest.fixture(scope="module")
def controller():
    torch.manual_seed(0)
    net = ObjectNet(SCENE, num_goals=len(SCENE.goals), num_choices=len(ACTIONS), hidden=16)
    torch.nn.init.normal_(net.layers[-1].weight)
    return DeepQ(net, DeepOptions())


def test_a_game_played_again_is_the_same_game(controller):
    for score in play_games(controller, TaughtOrder(), OPTIONS, games=2, seed=3, epsilon=0.5):
        shown = list(replay(score, OPTIONS))
        assert len(shown) == len(score.moves) + 1 == score.decisions + 1
        assert [s.reached for s in shown if s.reached is not None] == [goal for goal, hit in score.goals if hit]
        assert shown[-1].move is None
        assert shown[-1].game.score == score.score
        assert 6 - shown[-1].game.ale.lives() == score.lives_lost
        places = {tuple(s.observation[:2]) for s in shown}
        assert len(places) > 20, "something happens in it"


def test_better_games_have_more_points_then_more_lives_then_less_time():
    games = [Score(100, 50, 1), Score(400, 900, 2), Score(400, 800, 2), Score(400, 999, 0)]
    assert [games.index(game) for game in sorted(games, key=lambda game: game.rank)] == [0, 1, 2, 3]


def test_a_film_shows_every_decision_with_its_goal(controller, tmp_path):
    options = GameOptions(one_life=False, max_decisions=12)
    (score,) = play_games(controller, TaughtOrder(), options, games=1, seed=1)
    path = film(score, options, controller, tmp_path / "best.mp4")
    frames = list(sf.open_source(str(path)))
    assert len(frames) == 13
    assert frames[1].time_ns - frames[0].time_ns == pytest.approx(4e9 / 60, rel=0.01), "the game's own time"
    assert frames[0].size_wh == (480, 630)
    left, top, _, bottom = (round(3 * edge) for edge in SCENE.goals[score.moves[0].goal].box)
    edge = frames[0].pixels[top:bottom, left - 3 : left].astype(int)
    assert (edge[..., 1] - edge[..., 2]).max() > 80, "the goal's box is green"
    assert [p.name for p in tmp_path.iterdir()] == ["best.mp4"]


def test_a_film_that_cannot_be_written_says_so(controller, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(sf.SteadyframeError):
        film(Score(), GameOptions(), controller, tmp_path / "file" / "best.mp4")


def test_training_names_its_best_game_in_the_last_line(tmp_path):
    command = [sys.executable, "-m", "steadyframe.models.hdqn.montezuma_train", "--out", str(tmp_path)]
    command += ["--decisions", "256", "--games", "1", "--longest-game", "40"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[-1].startswith("256 decisions in ")
    assert said[-1].endswith(str(tmp_path / "best.mp4"))
    assert 10 < len(list(sf.open_source(str(tmp_path / "best.mp4")))) <= 41
    (entry,) = json.loads((tmp_path / "history.json").read_text())
    assert set(entry["games"]) == {"learned, plain", "learned, sticky", "taught, sticky"}
    again = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert again[-1] == said[-1], "a run that is done says the same again"
    assert np.isfinite(entry["cpu_seconds"])
