"""The h-DQN agent: meta-controller, controller and critic over any Q-function and any environment.

Owns the loop of the paper's algorithm 1, for N environments side by side (one is enough). Knows nothing of networks,
games or pixels: the same lines train a table on six states and a network on an Atari game.

References
----------
Kulkarni, Narasimhan, Saeedi, Tenenbaum 2016, "Hierarchical Deep Reinforcement Learning", algorithm 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from .memory import ReplayMemory
from .qfunction import Batch, QFunction
from .schedules import GoalEpsilon, linear


@dataclass(frozen=True, slots=True)
class Goals:
    """The goals of a world.

    Parameters
    ----------
    reached : the critic, (before, after) -> (G,) bool: which goals a transition reached
    allowed : observation -> (G,) bool: which goals may be chosen; None means all
    """

    reached: Callable[[Any, Any], NDArray[np.bool_]]
    allowed: Callable[[Any], NDArray[np.bool_]] | None = None


@dataclass(frozen=True, kw_only=True)
class AgentOptions:
    """Choices of the algorithm.

    Parameters
    ----------
    horizon : decisions after which an unreached goal is given up; the paper has none
    goal_ends : a reached goal is terminal for the controller's target. The paper leaves it open and the authors' code
        does not do it; without it, Q1 counts reward that lies beyond its goal
    all_goals : learn every goal's value from every transition instead of the pursued goal's alone
    floors : a target of the controller is never below the return that was seen in the episode after the same choice.
        Brings a success back over hundreds of decisions at once (He et al. 2017, "optimality tightening"); a little
        too hopeful where the world is random
    update_every : decisions between updates
    batch, learn_start : of the controller's memory D1
    meta_batch, meta_learn_start : of the meta-controller's memory D2
    meta_update_every : decisions between updates of the meta-controller
    random_goals : decisions of phase 1, where goals are drawn uniformly (epsilon_2 = 1)
    hard_goals : random goals are drawn the more often the less they are reached, instead of equally often
    meta_anneal : decisions over which epsilon_2 falls from 1 to `meta_floor` after phase 1
    time_discount : discount what follows a goal by gamma to the power of the decisions that the goal took (options of
        Sutton, Precup, Singh 1999) instead of once, as the paper does. Without it a goal costs the same however long
        it takes
    """

    horizon: int | None = None
    goal_ends: bool = True
    all_goals: bool = False
    floors: bool = False
    update_every: int = 1
    batch: int = 32
    learn_start: int = 500
    meta_batch: int = 32
    meta_learn_start: int = 100
    meta_update_every: int = 1
    random_goals: int = 0
    hard_goals: bool = False
    meta_anneal: int = 50_000
    meta_floor: float = 0.1
    time_discount: bool = False


@dataclass(slots=True)
class Seat:
    """One environment and the goal being pursued in it."""

    environment: gymnasium.Env[Any, Any]
    observation: Any = None
    start: Any = None  # observation at which the goal was chosen: s0 of D2, never overwritten within a goal
    goal: int = -1
    age: int = 0  # decisions spent on the goal
    reward: float = 0.0  # F: undiscounted sum of extrinsic reward since the goal was chosen
    score: float = 0.0  # extrinsic reward of the episode
    decisions: int = 0  # of the episode
    places: list[int] = field(default_factory=list)  # of the episode's rows in D1


@dataclass(frozen=True, slots=True)
class Attempt:
    """A finished attempt at a goal."""

    decision: int
    seat: int
    goal: int
    reached: bool
    age: int


@dataclass(frozen=True, slots=True)
class Episode:
    """A finished episode: its extrinsic reward and length in decisions."""

    decision: int
    seat: int
    score: float
    decisions: int


class Agent:
    """Choose goals, pursue them, learn from both.

    Parameters
    ----------
    controller : Q1(s, a; g)
    meta : Q2(s, g)
    goals : intrinsic reward is 1 where they say reached, 0 elsewhere
    memory, meta_memory : D1 with the rows of `controller_fields`, D2 with those of `meta_fields`
    epsilon : exploration of the controller, per goal
    rng : every random choice of the agent comes from here
    """

    def __init__(
        self,
        controller: QFunction,
        meta: QFunction,
        goals: Goals,
        memories: tuple[ReplayMemory, ReplayMemory],
        *,
        epsilon: GoalEpsilon,
        options: AgentOptions,
        rng: np.random.Generator,
    ) -> None:
        self.controller, self.meta, self.goals = controller, meta, goals
        self.memory, self.meta_memory = memories
        self.epsilon, self.options, self.rng = epsilon, options, rng
        self.num_goals = meta.num_choices
        self.decisions = 0

    def meta_epsilon(self) -> float:
        """Give epsilon_2 at this decision: 1 in phase 1, then falling."""
        options = self.options
        after = self.decisions - options.random_goals
        return linear(after, start=1.0, end=options.meta_floor, over=options.meta_anneal)

    def choose_goal(self, observation: Any, epsilon: float) -> int:
        """Choose a goal epsilon-greedily among those allowed."""
        mask = self._mask(observation)
        if self.rng.random() < epsilon:
            weights = mask * (1.1 - self.epsilon.rates if self.options.hard_goals else 1.0)
            return int(self.rng.choice(self.num_goals, p=weights / weights.sum()))
        values = self.meta.values(np.asarray(observation)[None], np.zeros(1, np.int64))[0]
        return _argmax(np.where(mask, values, -np.inf), self.rng)

    def _mask(self, observation: Any) -> NDArray[np.bool_]:
        """Give the goals that may be chosen, (G,)."""
        return np.ones(self.num_goals, bool) if self.goals.allowed is None else self.goals.allowed(observation)

    def choose_actions(
        self, observations: NDArray[Any], goals: NDArray[np.int64], epsilons: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Choose an action for each of N rows, epsilon-greedily: goals and epsilons (N,) -> actions (N,)."""
        values = self.controller.values(observations, goals)
        ties = values + 1e-7 * self.rng.random(values.shape)  # an untrained table prefers no action
        explore = self.rng.random(len(goals)) < epsilons
        return np.where(explore, self.rng.integers(0, values.shape[1], len(goals)), ties.argmax(1))

    def run(self, environments: Sequence[gymnasium.Env[Any, Any]], decisions: int) -> Iterator[Attempt | Episode]:
        """Act and learn for a number of decisions; yields attempts and episodes as they end."""
        seats = [Seat(environment) for environment in environments]
        for seat in seats:
            self._begin_episode(seat)
        last = self.decisions + decisions
        while self.decisions < last:
            yield from self._decide(seats)
            self._learn(len(seats))
        for seat in seats:
            self._set_floors(seat.places)  # of episodes that are broken off

    def _begin_episode(self, seat: Seat) -> None:
        seat.observation, _ = seat.environment.reset()
        seat.score, seat.decisions, seat.goal = 0.0, 0, -1
        seat.places = []

    def _begin_goal(self, seat: Seat) -> None:
        seat.goal = self.choose_goal(seat.observation, self.meta_epsilon())
        seat.start, seat.age, seat.reward = seat.observation, 0, 0.0

    def _decide(self, seats: list[Seat]) -> Iterator[Attempt | Episode]:
        """Take one decision in every environment and store it."""
        for seat in seats:
            if seat.goal < 0:
                self._begin_goal(seat)
        observations = np.asarray([seat.observation for seat in seats])
        goals = np.asarray([seat.goal for seat in seats])
        actions = self.choose_actions(observations, goals, self.epsilon(goals))
        self.epsilon.decided(goals)
        reached = np.zeros((len(seats), self.num_goals), bool)
        ended = np.zeros(len(seats), bool)
        following, finished = [], []
        events: list[Attempt | Episode] = []
        begun = self.memory.stored
        for i, seat in enumerate(seats):
            seat.places.append((begun + i) % self.memory.capacity)
            after, reward, ended[i], cut, _ = seat.environment.step(int(actions[i]))
            reached[i] = self.goals.reached(seat.observation, after)
            following.append(after)
            places = seat.places
            events += self._advance(i, seat, after, float(reward), (bool(reached[i, goals[i]]), bool(ended[i]), cut))
            if ended[i] or cut:
                finished.append(places)
        self.memory.store(
            observation=observations, goal=goals, choice=actions, reached=reached, ended=ended,
            following=np.asarray(following), floor=np.zeros(reached.shape, np.float32),
        )  # fmt: skip
        for places in finished:
            self._set_floors(places)
        self.decisions += len(seats)
        yield from events

    def _advance(
        self, index: int, seat: Seat, after: Any, reward: float, flags: tuple[bool, bool, bool]
    ) -> list[Attempt | Episode]:
        """Book one decision of a seat: goal and episode may end."""
        reached, ended, cut = flags
        seat.observation = after
        seat.reward += reward
        seat.score += reward
        seat.age += 1
        seat.decisions += 1
        events: list[Attempt | Episode] = []
        given_up = self.options.horizon is not None and seat.age >= self.options.horizon
        if reached or ended or cut or given_up:
            self.meta_memory.store(
                observation=np.asarray(seat.start)[None], choice=[seat.goal], reward=[seat.reward], ended=[ended],
                following=np.asarray(after)[None], allowed=self._mask(after)[None], age=[seat.age],
            )  # fmt: skip
            self.epsilon.attempted(seat.goal, reached)
            events.append(Attempt(self.decisions, index, seat.goal, reached, seat.age))
            seat.goal = -1
        if ended or cut:
            events.append(Episode(self.decisions, index, seat.score, seat.decisions))
            self._begin_episode(seat)
        return events

    def _set_floors(self, places: list[int]) -> None:
        """Go back over a finished episode: what each choice was seen to return, for every goal."""
        if not self.options.floors or not places:
            return
        rows, kept = self.memory.rows, np.asarray(places[-self.memory.capacity :])
        reached, gamma = rows["reached"][kept], np.float32(self.controller.gamma)
        floors, seen = np.empty(reached.shape, np.float32), np.zeros(self.num_goals, np.float32)
        for i in reversed(range(len(kept))):
            seen = np.where(reached[i], np.float32(1), gamma * seen)
            floors[i] = seen
        rows["floor"][kept] = floors

    def _learn(self, made: int) -> None:
        """Update both Q-functions as often as `made` decisions call for."""
        options = self.options
        if len(self.memory) >= options.learn_start:
            for _ in range(_due(self.decisions, made, options.update_every)):
                self._learn_controller()
        if len(self.meta_memory) >= options.meta_learn_start:
            for _ in range(_due(self.decisions, made, options.meta_update_every)):
                self._learn_meta()

    def _learn_controller(self) -> None:
        rows, places, weights = self.memory.draw(self.options.batch, self.rng)
        reached, ended, goals = rows["reached"], rows["ended"], rows["goal"]
        floors = rows["floor"]
        if not self.options.all_goals:
            own = np.arange(len(goals)), goals
            reached, floors = reached[own], floors[own]
        ended = ended if reached.ndim == 1 else ended[:, None]
        errors = self.controller.learn(
            Batch(
                observations=rows["observation"],
                choices=rows["choice"],
                rewards=reached.astype(np.float32),
                ends=(reached | ended) if self.options.goal_ends else np.broadcast_to(ended, reached.shape),
                next_observations=rows["following"],
                goals=None if self.options.all_goals else goals,
                weights=weights if self.memory.priority else None,
                floors=floors if self.options.floors else None,
            )
        )
        self.memory.revalue(places, errors)

    def _learn_meta(self) -> None:
        rows, _, _ = self.meta_memory.draw(self.options.meta_batch, self.rng)
        self.meta.learn(
            Batch(
                observations=rows["observation"],
                choices=rows["choice"],
                rewards=rows["reward"],
                ends=rows["ended"],
                next_observations=rows["following"],
                goals=np.zeros(len(rows["choice"]), np.int64),
                next_allowed=None if self.goals.allowed is None else rows["allowed"],
                durations=rows["age"] if self.options.time_discount else None,
            )
        )


def controller_fields(shape: tuple[int, ...], dtype: Any, num_goals: int) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Describe the rows of D1 for observations of a shape and dtype."""
    return {
        "observation": (shape, dtype),
        "goal": ((), np.int64),
        "choice": ((), np.int64),
        "reached": ((num_goals,), np.bool_),
        "ended": ((), np.bool_),
        "following": (shape, dtype),
        "floor": ((num_goals,), np.float32),
    }


def meta_fields(shape: tuple[int, ...], dtype: Any, num_goals: int) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Describe the rows of D2."""
    return {
        "observation": (shape, dtype),
        "choice": ((), np.int64),
        "reward": ((), np.float32),
        "ended": ((), np.bool_),
        "following": (shape, dtype),
        "allowed": ((num_goals,), np.bool_),
        "age": ((), np.float32),
    }


def _due(decisions: int, made: int, every: int) -> int:
    """Count the multiples of `every` among the last `made` decisions."""
    return decisions // every - (decisions - made) // every


def _argmax(values: NDArray[Any], rng: np.random.Generator) -> int:
    """Give the index of the largest value, ties broken at random."""
    return int(rng.choice(np.flatnonzero(values == values.max())))
