"""An Atari game that is played: every frame waits for the action that the policy chose on the frame before.

Owns `ale://GAME`. The stream hands each result's output to `react`; without a policy nobody answers, and the source
says so. Needs `ale-py`, whose wheel carries the games.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ale_py
import numpy as np
from ale_py import roms

from ...errors import SourceNotFound, UsageError
from ...frame import Frame
from ..address import split_options, whole_number
from ..info import Signal, SourceInfo
from .descriptor import SourceDescriptor

_OPTIONS = ("episodes", "sticky", "seed", "noops", "skip", "score")
_FRAMES_A_SECOND = 60
_ANSWER_S = 60.0  # a policy that says nothing for so long is none
_LONGEST = 18_000  # decisions of an episode
# name of a game -> (its file in the wheel, name of an action of our policies -> its number in the emulator)
_GAMES = {"montezuma": "montezuma_revenge"}
_ACTIONS = {
    "noop": 0, "jump": 1, "up": 2, "right": 3, "left": 4, "down": 5, "up right": 6, "up left": 7, "down right": 8,
    "down left": 9, "jump up": 10, "jump right": 11, "jump left": 12, "jump down": 13,
}  # fmt: skip
_STOP = "stop"


@dataclass(frozen=True, slots=True)
class Game:
    """Where a game is.

    Parameters
    ----------
    episode : number of the game, from 0
    step : decisions made in it
    score : so far
    lives : left
    """

    episode: int
    step: int
    score: float
    lives: int

    def as_json(self) -> dict[str, Any]:
        """Give the fields of a JSON line."""
        return {"episode": self.episode, "step": self.step, "score": self.score, "lives": self.lives}


@dataclass(frozen=True, slots=True, kw_only=True)
class GameFrame(Frame):
    """A frame of a game, and where the game is."""

    game: Game


class AleSource:
    """Play a game by the actions that `react` is told.

    Parameters
    ----------
    address : ``ale://montezuma?episodes=1&sticky=0.25&seed=0&noops=30&skip=4&score=400``; sticky is the probability
        of repeating an action in each frame, noops the largest number of frames of doing nothing at the start, skip
        the frames of a decision; a game ends at this score (0: never), when its lives are lost, or after 18,000
        decisions

    Raises
    ------
    SourceNotFound
        If there is no such game.
    """

    notes = ()

    def __init__(self, address: str) -> None:
        name, mark, text = address.split("://", 1)[1].partition("?")
        if name not in _GAMES:
            raise SourceNotFound(f"There is no game {name!r}", available=_GAMES)
        options = split_options(f"ale://{mark}{text}", _OPTIONS)
        self._episodes = whole_number(options, "episodes", 1)
        self._noops = whole_number(options, "noops", 30, low=0, high=1_000)
        self._skip = whole_number(options, "skip", 4, low=1, high=60)
        self._score = whole_number(options, "score", 400, low=0)
        seed = whole_number(options, "seed", 0, low=0)
        self._rng = np.random.default_rng(seed)
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale = ale_py.ALEInterface()
        self._ale.setInt("random_seed", seed)
        self._ale.setInt("frame_skip", self._skip)
        self._ale.setFloat("repeat_action_probability", _share(options.get("sticky", "0")))
        path = roms.get_rom_path(_GAMES[name])
        if path is None:
            raise SourceNotFound(f"ale-py brings no game {_GAMES[name]!r}", todo="pip install --upgrade ale-py")
        self._ale.loadROM(path)
        self._answers: queue.Queue[str] = queue.Queue()
        self._stopped = False
        self.signal = Signal.LIVE
        self.info = SourceInfo(address=address, fps=_FRAMES_A_SECOND / self._skip)

    def __iter__(self) -> Iterator[Frame]:
        """Play; a frame is given, then its action awaited."""
        index = episode = 0
        while not self._stopped and episode < self._episodes:
            self._begin()
            step, score = 0, 0.0
            while not self._over(score, step):
                yield self._frame(index, Game(episode, step, score, self._ale.lives()))
                action = self._await()
                if action == _STOP:
                    return
                score += float(self._ale.act(_ACTIONS[action]))
                index, step = index + 1, step + 1
            yield self._frame(index, Game(episode, step, score, self._ale.lives()))  # how it ended
            if self._await() == _STOP:
                return
            index, episode = index + 1, episode + 1
        self.signal = Signal.ENDED

    def react(self, output: Any) -> None:
        """Take the policy's answer to the last frame; may be called from any thread.

        Raises
        ------
        UsageError
            If the output is no action of this game.
        """
        name = getattr(output, "action_name", None)
        if name not in _ACTIONS:
            raise UsageError(
                "A game is played by a policy", expected=f"actions {', '.join(_ACTIONS)}",
                found=type(output).__name__ if name is None else name, todo="Run a bundle such as policy-montezuma",
            )  # fmt: skip
        if output.episodes:
            self._episodes = output.episodes
        self._answers.put(name)

    def stop(self) -> None:
        """Ask the iteration to end."""
        self._stopped = True
        self._answers.put(_STOP)

    def close(self) -> None:
        """Nothing is held open."""

    def _begin(self) -> None:
        self._ale.reset_game()
        for _ in range(int(self._rng.integers(0, self._noops // self._skip + 1))):
            self._ale.act(0)

    def _over(self, score: float, step: int) -> bool:
        return self._ale.game_over() or (self._score > 0 and score >= self._score) or step >= _LONGEST

    def _frame(self, index: int, game: Game) -> GameFrame:
        pixels = np.ascontiguousarray(self._ale.getScreenRGB()[:, :, ::-1])
        time_ns = round(index * self._skip * 1e9 / _FRAMES_A_SECOND)
        return GameFrame(pixels, index, source=self.info.address, time_ns=time_ns, game=game)

    def _await(self) -> str:
        """Wait for the action.

        Raises
        ------
        UsageError
            If nobody answers.
        """
        try:
            return self._answers.get(timeout=_ANSWER_S)
        except queue.Empty:
            raise UsageError(
                "Nobody told the game what to do", expected=f"an action within {_ANSWER_S:g} s",
                todo="Run it in a stream with a policy, or call `react` with every result's output",
            ) from None  # fmt: skip


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise UsageError("sticky is a probability", expected="0 to below 1, such as 0.25", found=text)
    return share


def open_ale(address: str, *, sequence: bool = False) -> AleSource:
    """Open the source."""
    del sequence  # it is one anyway
    return AleSource(address)


descriptor = SourceDescriptor(open=open_ale)
