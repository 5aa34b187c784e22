"""Train h-DQN and plain Q-learning on the discrete process, several seeds.

`python -m steadyframe.models.hdqn.mdp_train --method hdqn --seeds 10`

Details that the paper leaves open, as chosen here: both agents are tabular; the critic is binary; goals are all six
states and a goal may be chosen again; gamma 0.99; a table's step size is 0.05 and an update draws 32 rows after every
decision; epsilon falls from 1 to 0.1 over 50,000 decisions (the paper's figure), for the controller over 50,000 / 6
decisions spent on a goal; an episode has no cap and a goal no horizon.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..checkpoint import Checkpoint, code_commit
from ..options import parse, recorded
from .agent import Agent, AgentOptions, Episode, Goals, controller_fields, meta_fields
from .mdp import NUM_STATES, DiscreteMdp, reached
from .memory import ReplayMemory
from .qfunction import Batch, TabularQ
from .schedules import GoalEpsilon, linear

METHODS = ("hdqn", "q_learning")


@dataclass(frozen=True, kw_only=True)
class Args:
    """Options of one run."""

    method: str = "hdqn"  # one of METHODS
    seeds: int = 10
    seed: int = 0  # of the first
    episodes: int = 25_000
    anneal: int = 50_000  # decisions
    step_size: float = 0.05
    gamma: float = 0.99
    batch: int = 32
    out: str = "runs/hdqn/mdp"


@dataclass(slots=True)
class History:
    """What an agent did: one row an episode."""

    rewards: NDArray[np.float32]  # (episodes,)
    visits: NDArray[np.int32]  # (episodes, 6), the start and the end counted
    decisions: NDArray[np.int64]  # (episodes,) decisions made up to the end of the episode


class _Counting(DiscreteMdp):
    """The process, and how often each state of the running episode was visited."""

    def __init__(self) -> None:
        super().__init__()
        self.finished: deque[NDArray[np.int32]] = deque()
        self._count = np.zeros(NUM_STATES, np.int32)

    def reset(self, **words: Any) -> tuple[int, dict[str, Any]]:
        state, info = super().reset(**words)
        self._count = np.zeros(NUM_STATES, np.int32)
        self._count[state] = 1
        return state, info

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        state, *rest = super().step(action)
        self._count[state] += 1
        if rest[1]:
            self.finished.append(self._count)
        return state, *rest


def hdqn_agent(args: Args, seed: int) -> Agent:
    """Make the hierarchical agent with two tables."""
    rng = np.random.default_rng(seed)
    table = {"gamma": args.gamma, "step_size": args.step_size}
    return Agent(
        TabularQ(NUM_STATES, 2, num_goals=NUM_STATES, **table),
        TabularQ(NUM_STATES, NUM_STATES, **table),
        Goals(reached),
        (
            ReplayMemory(1_000_000, controller_fields((), np.int64, NUM_STATES)),
            ReplayMemory(50_000, meta_fields((), np.int64, NUM_STATES)),
        ),
        epsilon=GoalEpsilon(NUM_STATES, over=args.anneal / NUM_STATES),
        options=AgentOptions(
            batch=args.batch, meta_batch=args.batch, learn_start=args.batch, meta_learn_start=args.batch,
            meta_anneal=args.anneal,
        ),
        rng=rng,
    )  # fmt: skip


def train_hdqn(args: Args, seed: int) -> tuple[History, Agent]:
    """Run the hierarchical agent for a number of episodes."""
    agent, environment = hdqn_agent(args, seed), _Counting()
    environment.reset(seed=seed)
    rewards, decisions = [], []
    for event in agent.run([environment], 10**9):
        if isinstance(event, Episode):
            rewards.append(event.score)
            decisions.append(event.decision)
            if len(rewards) == args.episodes:
                break
    visits = np.array(list(environment.finished)[: args.episodes])
    return History(np.array(rewards, np.float32), visits, np.array(decisions)), agent


def train_q_learning(args: Args, seed: int) -> tuple[History, TabularQ]:
    """Run plain Q-learning on the same table, step size, replay and epsilon, without goals."""
    rng, environment = np.random.default_rng(seed), _Counting()
    environment.reset(seed=seed)
    q = TabularQ(NUM_STATES, 2, gamma=args.gamma, step_size=args.step_size)
    fields = {name: ((), np.int64) for name in ("observation", "choice", "following")}
    memory = ReplayMemory(1_000_000, fields | {"reward": ((), np.float32), "ended": ((), np.bool_)})
    names = ("observation", "choice", "reward", "ended", "following")
    count = args.episodes
    history = History(np.zeros(count, np.float32), np.zeros((count, NUM_STATES), np.int32), np.zeros(count, np.int64))
    made, none = 0, np.zeros(1, np.int64)
    for episode in range(args.episodes):
        state, _ = environment.reset()
        ended = False
        while not ended:
            values = q.values(np.array([state]), none)[0] + 1e-7 * rng.random(2)
            explore = rng.random() < linear(made, start=1.0, end=0.1, over=args.anneal)
            action = int(rng.integers(2)) if explore else int(values.argmax())
            after, reward, ended, _, _ = environment.step(action)
            memory.store(observation=[state], choice=[action], following=[after], reward=[reward], ended=[ended])
            state, made = after, made + 1
            if len(memory) >= args.batch:
                rows, _, _ = memory.draw(args.batch, rng)
                q.learn(Batch(*(rows[name] for name in names), goals=np.zeros(args.batch, np.int64)))
        history.rewards[episode], history.decisions[episode] = reward, made
        history.visits[episode] = environment.finished.popleft()
    return history, q


def checkpoint_of(args: Args, agent: Agent) -> Checkpoint:
    """Put both tables into a checkpoint, to be exported like any network."""
    controller, meta = agent.controller, agent.meta
    assert isinstance(controller, TabularQ) and isinstance(meta, TabularQ)
    tables = {"controller": controller.table, "meta": meta.table}  # (G, S, A) each
    weights = {f"{role}.table": torch.from_numpy(table.transpose(1, 0, 2).copy()) for role, table in tables.items()}
    config = {"world": "mdp", "args": recorded(args)}
    return Checkpoint("policy", config, weights, step=agent.decisions, commit=code_commit())


def train(args: Args) -> dict[str, Any]:
    """Train every seed; gives the figures of the last 1,000 episodes.

    Writes `<out>/<method>.npz`, and for h-DQN `mdp.pt` with the tables of the first seed.
    """
    runner = {"hdqn": train_hdqn, "q_learning": train_q_learning}[args.method]
    runs = [runner(args, args.seed + i) for i in range(args.seeds)]
    histories, first = [history for history, _ in runs], runs[0][1]
    if isinstance(first, Agent):
        checkpoint_of(args, first).save(Path(args.out) / "mdp.pt")
    path = Path(args.out) / f"{args.method}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{name: [getattr(h, name) for h in histories] for name in History.__slots__})
    last = np.array([h.rewards[-1000:].mean() for h in histories])
    result = {
        "args": asdict(args), "last_1000": [round(float(x), 4) for x in last], "mean": float(last.mean()),
        "sd": float(last.std(ddof=1)) if len(last) > 1 else 0.0,
        "decisions": [int(h.decisions[-1]) for h in histories],
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(result, indent=1))
    return result


def _main() -> None:
    args = parse(Args, program="python -m steadyframe.models.hdqn.mdp_train", choices={"method": METHODS})
    result = train(args)
    print(f"{args.method}: {result['mean']:.4f} ± {result['sd']:.4f} (seeds: {result['last_1000']})")


if __name__ == "__main__":
    _main()
