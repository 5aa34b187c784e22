"""Film a game of Montezuma's Revenge that was played: every decision with its goal, agent and action drawn in.

Owns the way from a `Score` to a video file; the drawing is the runtime's own `Action`, the file its sink.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...runtime.frame import Frame
from ...runtime.io.info import SourceInfo
from ...runtime.io.sinks import open_sink
from ...runtime.tasks.policy.task import Action
from ...runtime.tasks.task import Result
from .montezuma import SCENE, GameOptions
from .play import Move, Score, Shown, replay
from .qfunction import QFunction
from .screens import objects_of

GAME_FPS = 60


def film(score: Score, options: GameOptions, controller: QFunction, out: str | Path) -> Path:
    """Write a game as a video, in the game's own time; the file appears when it is whole.

    Parameters
    ----------
    score : of `play_games`
    options : that it was played with
    controller : that played it; values the actions
    out : a video file (.mp4, .mkv, …)

    Raises
    ------
    SinkError
        If it cannot be written.
    """
    info = SourceInfo(address="ale://montezuma", fps=GAME_FPS / options.skip)
    sink = open_sink(str(out), info, task="policy")
    try:
        for result in _results(score, options, controller):
            sink.write(result)
    except BaseException:
        sink.discard()
        raise
    sink.close()
    return Path(out)


def _results(score: Score, options: GameOptions, controller: QFunction) -> Iterator[Result[Action]]:
    last = Move(0, 0)
    for index, shown in enumerate(replay(score, options)):
        last = shown.move or last
        image = np.ascontiguousarray(shown.game.render()[:, :, ::-1])
        frame = Frame(image, index, source="ale://montezuma", time_ns=round(index * options.skip * 1e9 / GAME_FPS))
        yield Result(frame, _action(shown, last, controller, frame))


def _action(shown: Shown, move: Move, controller: QFunction, frame: Frame) -> Action:
    """Say what was done in the words of the runtime; the last image of a game shows its last move."""
    vector = objects_of(shown.observation)
    return Action(
        action=move.action, action_name=SCENE.actions[move.action],
        goal=move.goal, goal_name=SCENE.goals[move.goal].name, goal_box=SCENE.goals[move.goal].box,
        agent_xy=(float(vector[0]), float(vector[1])), reached=shown.reached,
        values=controller.values(shown.observation[None], np.array([move.goal]))[0],
        scene=SCENE, frame=frame,
    )  # fmt: skip
