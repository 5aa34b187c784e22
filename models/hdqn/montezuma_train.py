"""Train h-DQN on the first room of Montezuma's Revenge.

`python -m steadyframe.models.hdqn.montezuma_train --out runs/hdqn/montezuma`

Two phases as in the paper: goals drawn at random, then chosen by the meta-controller while its epsilon falls. Each
addition to the paper's form is an option (`all_goals`, `goal_ends`, `double`, `priority`, `restarts`, `horizon`); the
ablation table switches them off one by one. Stops after `minutes` and goes on when started again. Games on the way
and at the end are played with the learned order of goals and with the taught one (`teach`); the best of them is
written as a video.
"""

from __future__ import annotations

import json
import pickle
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoint import Checkpoint, code_commit
from ..options import parse, recorded
from .agent import Agent, AgentOptions, Attempt, Episode, Goals, controller_fields, meta_fields
from .deep import DeepOptions, DeepQ
from .film import film
from .graph import META_HIDDEN, load_weights, weights_of
from .memory import ReplayMemory
from .montezuma import ACTIONS, SCENE, GameOptions, Montezuma
from .net import ObjectNet
from .play import Score, play_games
from .restarts import KINDS, Archive, Restarts
from .schedules import GoalEpsilon
from .screens import SIZES, ScreenQ, Screens, objects_of, observation_dtype
from .teach import TaughtOrder

TASK = "policy"


@dataclass(frozen=True, kw_only=True)
class Args:
    """Options of one run."""

    out: str = "runs/hdqn/montezuma"
    seed: int = 0
    network: str = "objects"  # or screens as in the paper: "paper" (84 x 84) or "small" (42 x 42)
    decisions: int = 1_000_000
    minutes: float = 1e9  # stop (and resume later) after this much time
    environments: int = 16  # half of them with sticky actions
    sticky: float = 0.25
    hidden: int = 128
    lr: float = 5e-4
    gamma: float = 0.98
    batch: int = 128
    update_every: int = 4
    target_rate: float = 0.003
    memory: int = 500_000
    all_goals: bool = True
    goal_ends: bool = True
    floors: bool = True
    double: bool = True
    ceiling: bool = True  # values of the controller are at most 1
    priority: float = 0.5
    horizon: int = 300
    restarts: str = "cells"  # one of restarts.KINDS
    restart_share: float = 0.75
    episode: int = 600  # decisions
    random_goals: int = 150_000  # phase 1
    hard_goals: bool = True  # in phase 1
    meta_anneal: int = 50_000
    meta_update_every: int = 64
    meta_gamma: float = 0.98
    time_discount: bool = False  # of the meta-controller; the paper discounts once a goal
    epsilon_over: int = 15_000  # decisions on a goal
    evaluate_every: int = 100_000
    games: int = 4  # of an evaluation, on the way and at the end, with either order of goals; 0 for none
    longest_game: int = 2_500  # decisions of such a game


class Run:
    """One training run: agent, games, archive, and what is written about them."""

    def __init__(self, args: Args) -> None:
        self.args = args
        self.folder = Path(args.out)
        torch.manual_seed(args.seed)
        rng = np.random.default_rng(args.seed)
        deep = DeepOptions(gamma=args.gamma, lr=args.lr, double=args.double, target_rate=args.target_rate)
        bounded = replace(deep, ceiling=1.0 if args.goal_ends and args.ceiling else None)
        of_meta = replace(deep, gamma=args.meta_gamma)
        goals, actions = len(SCENE.goals), len(ACTIONS)
        shape: tuple[int, ...] = (SCENE.length,)
        kind: Any = np.float32
        if args.network == "objects":
            controller = DeepQ(ObjectNet(SCENE, num_goals=goals, num_choices=actions, hidden=args.hidden), bounded)
            meta = DeepQ(ObjectNet(SCENE, num_goals=1, num_choices=goals, hidden=META_HIDDEN), of_meta)
        else:
            size = SIZES[args.network]
            controller = ScreenQ(size, num_choices=actions, masked=True, options=bounded)
            meta = ScreenQ(size, num_choices=goals, masked=False, options=of_meta)
            shape, kind = (), observation_dtype(size)
        self.agent = Agent(
            controller, meta,
            Goals(
                lambda before, after: SCENE.reached(objects_of(before), objects_of(after)),
                lambda observation: SCENE.allowed(objects_of(observation)),
            ),
            (
                ReplayMemory(args.memory, controller_fields(shape, kind, goals), priority=args.priority),
                ReplayMemory(args.memory // 10, meta_fields(shape, kind, goals)),
            ),
            epsilon=GoalEpsilon(goals, over=args.epsilon_over),
            options=AgentOptions(
                horizon=args.horizon, goal_ends=args.goal_ends, all_goals=args.all_goals, floors=args.floors,
                update_every=args.update_every, batch=args.batch, learn_start=5_000, meta_batch=64,
                meta_learn_start=500, meta_update_every=args.meta_update_every, random_goals=args.random_goals,
                hard_goals=args.hard_goals,
                meta_anneal=args.meta_anneal, time_discount=args.time_discount,
            ),
            rng=rng,
        )  # fmt: skip
        self.archive = Archive(args.restarts, rng=np.random.default_rng(args.seed + 1))
        self.seconds = self.cpu_seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}  # the best game so far: rank, order of its goals, file

    def environments(self) -> list[Any]:
        """Make the games; every second one repeats actions at random."""
        games = []
        for i in range(self.args.environments):
            sticky = self.args.sticky if i % 2 else 0.0
            options = GameOptions(sticky=sticky, max_decisions=self.args.episode)
            game = Montezuma(options, seed=self.args.seed * 1_000 + i)
            plain = self.args.restarts == "none"
            world = game if plain else Restarts(game, self.archive, share=self.args.restart_share)
            games.append(world if self.args.network == "objects" else Screens(world, size=SIZES[self.args.network]))
        return games

    def train(self) -> None:
        """Train to the end or until time is up; writes history, checkpoints and the best game on the way."""
        args, agent = self.args, self.agent
        games = self.environments()
        began, before = time.monotonic(), self.seconds
        cpu_began, cpu_before = time.process_time(), self.cpu_seconds
        late = False
        while agent.decisions < args.decisions and not late:
            chunk = min(10_000, args.decisions - agent.decisions)
            tally: Counter[tuple[int, bool]] = Counter()
            scores = []
            for event in agent.run(games, chunk):
                if isinstance(event, Attempt):
                    tally[event.goal, event.reached] += 1
                elif isinstance(event, Episode):
                    scores.append(event.score)
            self.seconds = before + time.monotonic() - began
            self.cpu_seconds = cpu_before + time.process_time() - cpu_began
            self.note(tally, scores)
            late = time.monotonic() - began > args.minutes * 60
            done = agent.decisions >= args.decisions
            passed = agent.decisions // args.evaluate_every > (agent.decisions - chunk) // args.evaluate_every
            if args.games and (passed or done):
                self.history[-1]["games"] = self.evaluate()
                print(json.dumps(self.history[-1]["games"]), flush=True)
            if passed or late or done or agent.decisions % 50_000 < chunk:
                self.save()
        print(self.closing_line(), flush=True)

    def closing_line(self) -> str:
        """Say what the run has come to."""
        took = f"{self.agent.decisions} decisions in {self.seconds / 60:.1f} min ({self.cpu_seconds / 60:.1f} of CPU)"
        done = self.agent.decisions >= self.args.decisions
        more = "" if done else ", stopped by --minutes; start it again to go on"
        if not self.best:
            return f"{took}{more}; no games played (--games)"
        score, lost, decisions = self.best["rank"]
        return (
            f"{took}{more}; best game (order of goals {self.best['order']}): score {score:g}, {-lost} lives lost, "
            f"{-decisions} decisions: {self.folder / self.best['file']}"
        )

    def note(self, tally: Counter[tuple[int, bool]], scores: list[float]) -> None:
        """Add one entry to the history and print it."""
        agent = self.agent
        goals = range(len(SCENE.goals))
        self.history.append(
            {
                "decisions": agent.decisions, "seconds": round(self.seconds, 1),
                "cpu_seconds": round(self.cpu_seconds, 1),
                "attempts": [tally[g, True] + tally[g, False] for g in goals],
                "reached": [tally[g, True] for g in goals], "episodes": len(scores),
                "epsilon": [round(float(e), 3) for e in agent.epsilon(np.arange(len(SCENE.goals)))],
                "meta_epsilon": round(agent.meta_epsilon(), 3), "cells": len(self.archive.cells),
            }
        )  # fmt: skip
        entry = self.history[-1]
        rates = " ".join(f"{r}/{a}" for r, a in zip(entry["reached"], entry["attempts"], strict=True))
        print(f"{agent.decisions} {self.seconds:.0f}s cells {entry['cells']} reached {rates}", flush=True)

    def evaluate(self) -> dict[str, Any]:
        """Play whole games from the start, with either order of goals; keeps the best of the run as a video."""
        agent, found = self.agent, {}
        kinds = (("learned", 0.0, agent.meta), ("learned", self.args.sticky, agent.meta))
        for order, sticky, meta in (*kinds, ("taught", self.args.sticky, TaughtOrder())):
            options = GameOptions(
                one_life=False, sticky=sticky, max_decisions=self.args.longest_game,
                screens=SIZES.get(self.args.network, 0),
            )  # fmt: skip
            seed = 10_000 + agent.decisions
            scores = play_games(agent.controller, meta, options, games=self.args.games, seed=seed)
            found[f"{order}, {'sticky' if sticky else 'plain'}"] = Score.shares(scores)
            best = max(scores, key=lambda score: score.rank)
            if not self.best or best.rank > tuple(self.best["rank"]):
                film(best, options, agent.controller, self.folder / "best.mp4")
                self.best = {"rank": list(best.rank), "order": order, "sticky": sticky, "file": "best.mp4"}
        return found

    def checkpoint(self, *, complete: bool) -> Checkpoint:
        """Gather weights; with `complete`, also everything that a resumed run needs."""
        agent = self.agent
        controller, meta = agent.controller, agent.meta
        assert isinstance(controller, DeepQ) and isinstance(meta, DeepQ)
        world = "montezuma" if self.args.network == "objects" else "montezuma-pixels"
        config = {"world": world, "args": recorded(self.args)}
        return Checkpoint(
            TASK, config, weights_of(controller.net, meta.net), self._resume_state() if complete else {},
            agent.decisions, self.seconds,
            commit=code_commit(),
        )  # fmt: skip

    def save(self) -> None:
        """Write the checkpoint and the history."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint(complete=False).save(self.folder / f"at_{self.agent.decisions // 50_000 * 50:05d}k.pt")
        self.checkpoint(complete=True).save(self.folder / "resume.pt")
        (self.folder / "history.json").write_text(json.dumps(self.history))

    def _resume_state(self) -> dict[str, Any]:
        agent = self.agent

        def tensors(state: dict[str, Any]) -> dict[str, Any]:
            rows = {
                name: values.view(np.uint8) if values.dtype.names else values
                for name, values in state["rows"].items()
            }
            return state | {"rows": {name: torch.from_numpy(values) for name, values in rows.items()}}

        archive = np.frombuffer(pickle.dumps(self.archive.cells), np.uint8)
        return {
            "controller": agent.controller.state(), "meta": agent.meta.state(), "epsilon": agent.epsilon.state(),
            "memory": tensors(agent.memory.state()), "meta_memory": tensors(agent.meta_memory.state()),
            "archive": torch.from_numpy(archive.copy()), "history": json.dumps(self.history),
            "best": json.dumps(self.best), "cpu_seconds": self.cpu_seconds,
        }  # fmt: skip

    def resume(self) -> None:
        """Go on from `resume.pt`, if it is there."""
        path = self.folder / "resume.pt"
        if not path.is_file():
            return
        checkpoint = Checkpoint.load(path, task=TASK)
        state, agent = checkpoint.training, self.agent
        load_weights(agent.controller.net, agent.meta.net, checkpoint)
        agent.controller.restore(state["controller"])
        agent.meta.restore(state["meta"])
        agent.epsilon.restore(state["epsilon"])
        agent.memory.restore(state["memory"])
        agent.meta_memory.restore(state["meta_memory"])
        self.archive.cells = pickle.loads(state["archive"].numpy().tobytes())
        self.history, self.best = json.loads(state["history"]), json.loads(state["best"])
        self.cpu_seconds = state["cpu_seconds"]
        agent.decisions, self.seconds = checkpoint.step, checkpoint.seconds
        print(f"goes on at {agent.decisions} decisions", flush=True)


def _main() -> None:
    args = parse(
        Args,
        program="python -m steadyframe.models.hdqn.montezuma_train",
        choices={"restarts": KINDS, "network": ("objects", *SIZES)},
    )
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # moments of table rows that are seldom seen fade to such numbers, which are slow
    run = Run(args)
    run.resume()
    run.train()


if __name__ == "__main__":
    _main()
