"""The agent's bookkeeping, and the traps that known re-implementations fell into."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from steadyframe.models.hdqn.agent import Agent, AgentOptions, Attempt, Episode, Goals, controller_fields, meta_fields
from steadyframe.models.hdqn.memory import ReplayMemory
from steadyframe.models.hdqn.qfunction import Batch, TabularQ
from steadyframe.models.hdqn.schedules import GoalEpsilon, linear


class Corridor(gymnasium.Env):
    """States 0 to 5; action 1 goes right, 0 stays; reward 1 each step; ends at 5."""

    observation_space, action_space = spaces.Discrete(6), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = 0
        return 0, {}

    def step(self, action):
        self.state += int(action)
        return self.state, 1.0, self.state == 5, False, {}


def corridor_agent(*, epsilon=0.0, goals=6, options=None, seed=0):
    """An agent whose tables know the way: always right; whose meta-controller wants goal 3, then 5."""
    controller, meta = TabularQ(6, 2, num_goals=goals), TabularQ(6, goals)
    controller.table[..., 1] = 1
    meta.table[0, :3, 3] = 1
    meta.table[0, 3:, 5] = 1
    schedule = GoalEpsilon(goals, floor=epsilon, over=1e-9)
    schedule.decisions[:] = 1
    memories = (
        ReplayMemory(100, controller_fields((), np.int64, goals)),
        ReplayMemory(100, meta_fields((), np.int64, goals)),
    )
    return Agent(
        controller, meta, Goals(lambda before, after: np.arange(goals) == after), memories, epsilon=schedule,
        options=options or AgentOptions(learn_start=10**9, meta_learn_start=10**9, meta_anneal=0, meta_floor=0.0),
        rng=np.random.default_rng(seed),
    )  # fmt: skip


def test_meta_memory_starts_where_the_goal_was_chosen():
    agent = corridor_agent()
    events = list(agent.run([Corridor()], 5))
    rows = {name: values[:2].tolist() for name, values in agent.meta_memory.rows.items() if name != "allowed"}
    assert rows == {
        "observation": [0, 3], "choice": [3, 5], "reward": [3.0, 2.0], "ended": [False, True], "following": [3, 5],
        "age": [3.0, 2.0],
    }  # fmt: skip
    assert [(e.goal, e.reached, e.age) for e in events if isinstance(e, Attempt)] == [(3, True, 3), (5, True, 2)]
    assert [(e.score, e.decisions) for e in events if isinstance(e, Episode)] == [(5.0, 5)]


def test_controller_memory_holds_every_decision_with_its_goal():
    agent = corridor_agent()
    list(agent.run([Corridor()], 5))
    rows = agent.memory.rows
    assert rows["observation"][:5].tolist() == [0, 1, 2, 3, 4]
    assert rows["following"][:5].tolist() == [1, 2, 3, 4, 5]
    assert rows["goal"][:5].tolist() == [3, 3, 3, 5, 5]
    assert rows["ended"][:5].tolist() == [False] * 4 + [True]
    assert rows["reached"][:5].argmax(1).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("epsilon", "share"), [(0.0, 0.0), (1.0, 0.5)])
def test_epsilon_is_the_share_of_random_actions_not_of_greedy_ones(epsilon, share):
    agent = corridor_agent()
    actions = agent.choose_actions(np.zeros(2_000, np.int64), np.zeros(2_000, np.int64), np.full(2_000, epsilon))
    assert (actions == 0).mean() == pytest.approx(share, abs=0.05)


def test_horizon_gives_a_goal_up_without_ending_the_episode():
    options = AgentOptions(horizon=2, learn_start=10**9, meta_learn_start=10**9, meta_anneal=0, meta_floor=0.0)
    agent = corridor_agent(options=options)
    attempts = [e for e in agent.run([Corridor()], 5) if isinstance(e, Attempt)]
    assert [(a.goal, a.reached, a.age) for a in attempts] == [(3, False, 2), (3, True, 1), (5, True, 2)]
    assert agent.meta_memory.rows["ended"][:3].tolist() == [False, False, True]


def test_goals_that_are_not_allowed_are_never_chosen():
    agent = corridor_agent()
    agent.goals = replace(agent.goals, allowed=lambda observation: np.arange(6) == 4)
    assert {agent.choose_goal(0, epsilon) for epsilon in (0.0, 1.0) for _ in range(20)} == {4}


def test_a_reached_goal_is_terminal_only_if_asked():
    for goal_ends in (True, False):
        options = AgentOptions(batch=64, learn_start=5, meta_learn_start=10**9, goal_ends=goal_ends, all_goals=True)
        agent = corridor_agent(options=options)
        agent.controller.table[:] = 2.0  # whatever follows looks good
        agent.controller.step_size = 0.01
        list(agent.run([Corridor()] * 2, 400))
        entering = agent.controller.table[2, 1, 1]  # goal 2 is reached by going right at 1
        assert (entering < 1.5) == goal_ends


def test_linear_schedule():
    assert [linear(step, start=1, end=0.1, over=10) for step in (-5, 0, 5, 10, 99)] == [1, 1, 0.55, 0.1, 0.1]


def test_goal_epsilon_falls_with_decisions_or_at_once_with_success():
    epsilon = GoalEpsilon(2, floor=0.1, over=100)
    epsilon.decided(np.zeros(50, np.int64))
    assert epsilon(np.array([0, 1])).tolist() == pytest.approx([0.55, 1.0])
    for _ in range(20):
        epsilon.attempted(1, reached=True)
    assert epsilon(np.array([1]))[0] == pytest.approx(0.1)
    again = GoalEpsilon(2, floor=0.1, over=100)
    again.restore(epsilon.state())
    assert again(np.array([0, 1])).tolist() == epsilon(np.array([0, 1])).tolist()


def test_memory_overwrites_the_oldest_and_survives_a_restart():
    memory = ReplayMemory(4, {"x": ((), np.int64)})
    memory.store(x=np.arange(3))
    memory.store(x=np.arange(3, 6))
    assert sorted(memory.rows["x"]) == [2, 3, 4, 5]
    again = ReplayMemory(4, {"x": ((), np.int64)})
    again.restore(memory.state())
    assert len(again) == 4
    assert set(again.draw(200, np.random.default_rng(0))[0]["x"]) == {2, 3, 4, 5}


def test_prioritized_memory_draws_by_error_and_corrects_for_it():
    memory = ReplayMemory(10, {"x": ((), np.int64)}, priority=1.0, correction=1.0)
    memory.store(x=np.arange(10))
    errors = np.full(10, 1.0, np.float32)
    errors[7] = 11.0
    memory.revalue(np.arange(10), errors)
    rows, places, weights = memory.draw(4_000, np.random.default_rng(0))
    share = (rows["x"] == 7).mean()
    assert share == pytest.approx(11 / 20, abs=0.02)
    estimate = (weights * (rows["x"] == 7)).sum() / weights.sum()
    assert estimate == pytest.approx(0.1, abs=0.01), "weights undo the bias"
    assert (rows["x"] == places).all()


def test_tabular_update_follows_the_target():
    q = TabularQ(3, 2, num_goals=2, gamma=0.5, step_size=1.0)
    q.table[1, 2] = [4.0, 8.0]
    batch = Batch(
        observations=np.array([0, 1]), choices=np.array([1, 0]), rewards=np.array([1.0, 2.0], np.float32),
        ends=np.array([False, True]), next_observations=np.array([2, 2]), goals=np.array([1, 1]),
    )  # fmt: skip
    assert q.learn(batch).tolist() == [5.0, 2.0]
    assert q.table[1, 0, 1] == 5.0
    assert q.table[1, 1, 0] == 2.0
