"""Play whole games of Montezuma's Revenge with a trained agent and count what it reached.

Owns the hierarchical loop at test time, over any pair of Q-functions (networks or exported graphs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from .montezuma import DOOR_SCORE, SCENE, GameOptions, Montezuma
from .qfunction import QFunction
from .screens import Screens, objects_of

KEY_SCORE = 100
HORIZON = 300  # decisions after which a goal is given up
ONLY = np.zeros(1, np.int64)  # the meta-controller's single goal


@dataclass(slots=True)
class Score:
    """One game: score, decisions, and the goals in the order they were chosen and reached."""

    score: float = 0.0
    decisions: int = 0
    lives_lost: int = 0
    goals: list[tuple[int, bool]] = field(default_factory=list)

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
    watch: Callable[[Montezuma, int, int], Any] | None = None,
) -> list[Score]:  # fmt: skip
    """Play games side by side; both controllers act at random in `epsilon` of their choices.

    Parameters
    ----------
    watch : called with the game, the goal and the action after every decision (for a video)
    """
    rng = np.random.default_rng(seed)
    tables = [_Table(Montezuma(options, seed=seed + i)) for i in range(games)]
    while running := [table for table in tables if not table.over]:
        for table in running:
            if table.goal < 0:
                table.choose(meta, rng, epsilon)
        observations = np.asarray([table.observation for table in running])
        values = controller.values(observations, np.asarray([table.goal for table in running]))
        random = rng.random(len(running)) < epsilon
        actions = np.where(random, rng.integers(0, values.shape[1], len(running)), values.argmax(1))
        for table, action in zip(running, actions, strict=True):
            goal = table.goal
            table.step(int(action))
            if watch is not None:
                watch(table.game, goal, int(action))
    return [table.score for table in tables]


class _Table:
    """One game being played."""

    def __init__(self, game: Montezuma) -> None:
        self.game, self.score = game, Score()
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
