"""What the agent asks of a Q-function, and the tabular one.

Owns the `QFunction` protocol, the batch it learns from, and `TabularQ`. Needs no torch; `deep` has the networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Goals = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Transitions to learn from.

    Parameters
    ----------
    observations, next_observations : (N, ...)
    choices : (N,) the action taken; for the meta-controller, the goal chosen
    rewards : (N,), or (N, G) when every goal is learned from every transition
    ends : bool, shaped as `rewards`; True where nothing follows (no bootstrap)
    goals : (N,) the goal pursued; None when every goal is learned
    weights : (N,) importance weights of prioritized replay, or None
    floors : shaped as `rewards`, returns that were seen after these very choices; a target is never below. None: 0
    next_allowed : (N, num_choices) bool, choices that may follow; None means all
    durations : (N,) float32, decisions that each choice took; what follows counts gamma ** durations. None: 1 each
    """

    observations: NDArray[Any]
    choices: NDArray[np.int64]
    rewards: NDArray[np.float32]
    ends: NDArray[np.bool_]
    next_observations: NDArray[Any]
    goals: Goals | None = None
    weights: NDArray[np.float32] | None = None
    next_allowed: NDArray[np.bool_] | None = None
    floors: NDArray[np.float32] | None = None
    durations: NDArray[np.float32] | None = None


class QFunction(Protocol):
    """Action values: of the controller Q1(s, a; g), or of the meta-controller Q2(s, g), which has one goal, 0."""

    num_choices: int
    gamma: float

    def values(self, observations: NDArray[Any], goals: Goals) -> NDArray[np.float32]:
        """Give the value of every choice, (N, num_choices), for the goal of each row."""

    def learn(self, batch: Batch) -> NDArray[np.float32]:
        """Move towards the targets of a batch; returns the absolute TD errors (N,)."""


class TabularQ:
    """One number for every goal, state and choice.

    Parameters
    ----------
    num_states, num_choices, num_goals : sizes of the table
    gamma : discount of one step (of one goal, for the meta-controller)
    step_size : share of the TD error that a visit corrects
    initial : value of unvisited entries; above the attainable values it makes a greedy agent try everything

    References
    ----------
    Watkins & Dayan 1992; the paper's experiment 1 uses no network as retold by others. Step size and initial
    values: ours.
    """

    def __init__(
        self,
        num_states: int,
        num_choices: int,
        *,
        num_goals: int = 1,
        gamma: float = 0.99,
        step_size: float = 0.05,
        initial: float = 0.0,
    ) -> None:
        self.num_choices, self.gamma, self.step_size = num_choices, gamma, step_size
        self.table = np.full((num_goals, num_states, num_choices), initial, np.float32)

    def values(self, observations: NDArray[Any], goals: Goals) -> NDArray[np.float32]:
        """Look up the rows, (N, num_choices)."""
        return self.table[goals, observations]

    def learn(self, batch: Batch) -> NDArray[np.float32]:
        """Correct the table; a transition drawn twice counts twice. Returns the TD errors of the batch, (N,)."""
        goals: Any = batch.goals
        if goals is None:  # every goal from every transition: (N, G)
            goals = np.arange(len(self.table))
            states, following, choices = (
                x[:, None] for x in (batch.observations, batch.next_observations, batch.choices)
            )
        else:
            states, following, choices = batch.observations, batch.next_observations, batch.choices
        values = self.table[goals, following]
        if batch.next_allowed is not None:
            values = np.where(batch.next_allowed, values, -np.inf)
        best = values.max(-1)
        discount = self.gamma if batch.durations is None else self.gamma**batch.durations
        targets = batch.rewards + discount * np.where(batch.ends, 0, best)
        if batch.floors is not None:
            targets = np.maximum(targets, batch.floors)
        errors = targets - self.table[goals, states, choices]
        np.add.at(self.table, (goals, states, choices), self.step_size * errors)
        return np.abs(errors) if errors.ndim == 1 else np.abs(errors).max(1)
