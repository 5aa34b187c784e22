"""Two exported networks at work: choose a goal, choose an action, both epsilon-greedily.

Owns `Policy`, which knows the graphs' names and nothing of frames: it serves the pixels of a stream, a game's memory
and a table of six states alike. Networks are deterministic; every random choice is made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ...engines.session import Session
from ...errors import BundleError, UsageError

META, CONTROLLER = "meta", "controller"
OBSERVATION, GOAL, VALUES = "observation", "goal", "values"


class Policy:
    """Meta-controller and controller of a bundle of task `policy`.

    Parameters
    ----------
    manifest : its graph `meta` maps `observation` (N, ...) to `values` (N, G); its graph `controller` maps
        `observation` and `goal`, (N, G) float32 with a single 1 a row, to `values` (N, A)
    sessions : both graphs, loaded
    epsilon : share of random choices, of goals and of actions
    seed : of the random choices

    Raises
    ------
    BundleError
        If the manifest has other graphs.
    UsageError
        If epsilon is no share.
    """

    def __init__(
        self, manifest: Manifest, sessions: Mapping[str, Session], *, epsilon: float = 0.0, seed: int = 0
    ) -> None:
        expected = {META: [OBSERVATION], CONTROLLER: [OBSERVATION, GOAL]}
        found = {role: [spec.name for spec in graph.inputs] for role, graph in manifest.graphs.items()}
        if found != expected:
            raise BundleError(
                f"Bundle {manifest.name!r} holds no policy",
                expected=f"graphs and inputs {expected}",
                found=found,
                todo="Export it with `steadyframe export`",
            )
        if not 0 <= epsilon <= 1:
            raise UsageError("epsilon is a share of choices", expected="0 to 1", found=epsilon)
        self._meta, self._controller = sessions[META], sessions[CONTROLLER]
        goals, actions = self._meta.outputs[0].axes[-1], self._controller.outputs[0].axes[-1]
        if not isinstance(goals, int) or not isinstance(actions, int):
            raise BundleError("A policy's graphs have a fixed number of choices", found=(goals, actions))
        self.num_goals, self.num_actions = goals, actions
        self.epsilon = epsilon
        self._rng = np.random.default_rng(seed)
        self._goals = np.eye(goals, dtype=np.float32)

    def goal_values(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Value every goal: (N, ...) -> (N, G)."""
        return self._meta.run({OBSERVATION: observations})[VALUES]

    def action_values(self, observations: NDArray[Any], goals: NDArray[np.int64]) -> NDArray[np.float32]:
        """Value every action for the goal of each row: (N, ...), (N,) -> (N, A)."""
        return self._controller.run({OBSERVATION: observations, GOAL: self._goals[goals]})[VALUES]

    def choose_goal(self, observation: NDArray[Any], allowed: NDArray[np.bool_] | None = None) -> int:
        """Choose a goal for one observation (without its batch axis).

        Parameters
        ----------
        allowed : (G,) bool, goals that may be chosen; None means all

        Raises
        ------
        UsageError
            If none may be chosen.
        """
        mask = np.ones(self.num_goals, np.bool_) if allowed is None else allowed
        if not mask.any():
            raise UsageError("No goal may be chosen: every object has been taken")
        if self._rng.random() < self.epsilon:
            return int(self._rng.choice(np.flatnonzero(mask)))
        return int(np.where(mask, self.goal_values(observation[None])[0], -np.inf).argmax())

    def choose_action(self, observation: NDArray[Any], goal: int, values: NDArray[np.float32] | None = None) -> int:
        """Choose an action for one observation, any shape (no batch axis), and a goal; `values`, (A,), if known."""
        if self._rng.random() < self.epsilon:
            return int(self._rng.integers(self.num_actions))
        if values is None:
            values = self.action_values(observation[None], np.array([goal]))[0]
        return int(values.argmax())

    def close(self) -> None:
        """Close both sessions."""
        self._meta.close()
        self._controller.close()
