"""Play whole games of Montezuma's Revenge with a trained agent and count what it reached.

Owns the hierarchical loop at test time, over any pair of Q-functions (networks or exported graphs), and playing a
game again that was played before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from .montezuma import DOOR_SCORE, SCENE, GameOptions, Montezuma
from .qfunction import QFunction
from .screens import Screens, objects_of

KEY_SCORE = 100
HORIZON = 300  # decisions after which a goal is given up
ONLY = np.zeros(1, np.int64)  # the meta-controller's single goal


class Move(NamedTuple):
    """One decision of a game: the goal pursued, and the action."""

    goal: int
    action: int


@dataclass(slots=True)
class Score:
    """One game: score, decisions, and the goals in the order they were chosen and reached.

    `seed` and `moves` tell the whole game: `replay` plays it again.
    """

    score: float = 0.0
    decisions: int = 0
    lives_lost: int = 0
    goals: list[tuple[int, bool]] = field(default_factory=list)
    seed: int = 0
    moves: list[Move] = field(default_factory=list, repr=False)

    @property
    def rank(self) -> tuple[float, int, int]:
        """Sort key: the better game has more points, then more lives left, then fewer decisions."""
        return self.score, -self.lives_lost, -self.decisions

    @staticmethod
    def shares(scores: list[Score]) -> dict[str, float]:
        """Give the share of games with the key and with a door, mean score and mean lives lost."""
        points = np.array([s.score for s in scores])
        return {
            "games": len(scores), "key": float((points >= KEY_SCORE).mean()),
            "door": float((points >= DOOR_SCORE).mean()), "score": float(points.mean()),
            "lives_lost": float(np.mean([s.lives_lost for s in scores])),
        }  # fmt: skip


def play_games(
    controller: QFunction, meta: QFunction, options: GameOptions, *, games: int, seed: int, epsilon: float = 0.1,
) -> list[Score]:  # fmt: skip
    """Play games side by side; both controllers act at random in `epsilon` of their choices."""
    rng = np.random.default_rng(seed)
    tables = [_Table(options, seed + i) for i in range(games)]
    while running := [table for table in tables if not table.over]:
        for table in running:
            if table.goal < 0:
                table.choose(meta, rng, epsilon)
        observations = np.asarray([table.observation for table in running])
        values = controller.values(observations, np.asarray([table.goal for table in running]))
        random = rng.random(len(running)) < epsilon
        actions = np.where(random, rng.integers(0, values.shape[1], len(running)), values.argmax(1))
        for table, action in zip(running, actions, strict=True):
            table.step(int(action))
    return [table.score for table in tables]


@dataclass(frozen=True, slots=True)
class Shown:
    """A moment of a game that is played again.

    Parameters
    ----------
    game : as it stands before the move
    observation : what the agent saw
    move : what it did; None at the end of the game
    reached : goal that the move before reached, or None
    """

    game: Montezuma
    observation: Any
    move: Move | None
    reached: int | None


def replay(score: Score, options: GameOptions) -> Iterator[Shown]:
    """Play a game of `play_games` again, move by move: the emulator's randomness is in the seed."""
    table, reached = _Table(options, score.seed), None
    for move in score.moves:
        yield Shown(table.game, table.observation, move, reached)
        if table.goal != move.goal:
            table.goal, table.age = move.goal, 0
        count = len(table.score.goals)
        table.step(move.action)
        reached = next((goal for goal, hit in table.score.goals[count:] if hit), None)
    yield Shown(table.game, table.observation, None, reached)


class _Table:
    """One game being played."""

    def __init__(self, options: GameOptions, seed: int) -> None:
        game = Montezuma(options, seed=seed)
        self.game, self.score = game, Score(seed=seed)
        self._world: gymnasium.Env[Any, Any] = (
            Screens(game, size=game.options.screens) if game.options.screens else game
        )
        self.observation, _ = self._world.reset()
        self.goal, self.age, self.over = -1, 0, False

    def choose(self, meta: QFunction, rng: np.random.Generator, epsilon: float) -> None:
        mask = SCENE.allowed(objects_of(self.observation))
        values = np.where(mask, meta.values(self.observation[None], ONLY)[0], -np.inf)
        self.goal = int(rng.choice(np.flatnonzero(mask))) if rng.random() < epsilon else int(values.argmax())
        self.age = 0

    def step(self, action: int) -> None:
        self.score.moves.append(Move(self.goal, action))
        after, _, ended, cut, info = self._world.step(action)
        self.age += 1
        hits = SCENE.reached(objects_of(self.observation), objects_of(after))
        reached = bool(hits[self.goal]) and not info["life_lost"]
        if reached or info["life_lost"] or self.age >= HORIZON:
            self.score.goals.append((self.goal, reached))
            self.goal = -1
        self.score.decisions += 1
        self.score.lives_lost += bool(info["life_lost"])
        self.score.score = info["score"]
        self.observation, self.over = after, ended or cut
