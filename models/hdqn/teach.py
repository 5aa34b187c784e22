"""Teach the meta-controller of Montezuma's Revenge the order of the goals, instead of letting it learn the order.

`python -m steadyframe.models.hdqn.teach CHECKPOINT OUT.pt`

Owns the rule (where the agent is and whether it has the key give the next goal) and the training of the
meta-controller's network on it. The controller stays as it is. The checkpoint's configuration then says `taught`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..checkpoint import Checkpoint, code_commit
from .graph import of_checkpoint, weights_of
from .montezuma import SCENE
from .qfunction import Batch
from .screens import objects_of

MIDDLE_LADDER, ROPE, RIGHT_LADDER, LEFT_LADDER, KEY, LEFT_DOOR, RIGHT_DOOR = range(7)
BATCH = 512


def next_goal(x: float, y: float, *, has_key: bool) -> int:
    """Name the goal to pursue at a place of the room, pixels of the agent's center."""
    low, upper = y >= 148, y < 100
    there = ((x <= 45 and y >= 110, KEY), (low, LEFT_LADDER), (upper, MIDDLE_LADDER), (x >= 104, RIGHT_LADDER))
    back = (
        (upper, RIGHT_DOOR if x >= 80 else LEFT_DOOR), (x <= 55 and not low, LEFT_LADDER), (x >= 124, ROPE),
        (low, RIGHT_LADDER), (x >= 96, MIDDLE_LADDER),
    )  # fmt: skip
    rules = back if has_key else there
    return next((goal for holds, goal in rules if holds), RIGHT_DOOR if has_key else ROPE)


class TaughtOrder:
    """The rule as a meta-controller: a Q-function (`qfunction.QFunction`) that learns nothing."""

    num_choices, gamma = len(SCENE.goals), 1.0

    def values(self, observations: NDArray[Any], goals: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give 1 to the rule's goal and 0 to the others: object vectors (N, length) -> (N, G)."""
        del goals  # a meta-controller has one
        key = 2 * SCENE.history + 2
        rows = objects_of(observations)
        chosen = [next_goal(float(row[0]), float(row[1]), has_key=bool(row[key] == 0)) for row in rows]
        return np.eye(self.num_choices, dtype=np.float32)[chosen]

    def learn(self, batch: Batch) -> NDArray[np.float32]:
        """Give no errors, (N,) zeros."""
        return np.zeros(len(batch.choices), np.float32)


def examples(count: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw object vectors, (count, length), all over the room, and the rule's goal for each, (count,)."""
    vectors = np.empty((count, SCENE.length), np.float32)
    end = 2 * SCENE.history
    place = rng.uniform((10, 60), (150, 176), (count, 2))
    speed = rng.uniform(-4, 4, (count, 2)) * (rng.random((count, 1)) < 0.5)
    for age in range(SCENE.history):
        vectors[:, 2 * age : 2 * age + 2] = place - age * speed
    vectors[:, end] = rng.uniform(40, 125, count)
    vectors[:, end + 1] = vectors[:, end] + rng.choice((-1, 1), count)
    vectors[:, end + 2 :] = 1
    vectors[:, end + 2] = rng.integers(0, 2, count)  # the key is the first object that can be taken
    goals = [next_goal(v[0], v[1], has_key=v[end + 2] == 0) for v in vectors]
    return vectors, np.array(goals)


def teach(checkpoint: Checkpoint, *, updates: int = 2_000, seed: int = 0) -> Checkpoint:
    """Train a checkpoint's meta-controller on the rule; gives a new checkpoint with the share of right goals."""
    world, rng = of_checkpoint(checkpoint), np.random.default_rng(seed)
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(world.meta.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for _ in range(updates):
        vectors, goals = examples(BATCH, rng)
        values = world.meta(torch.from_numpy(vectors))[:, 0]
        loss = functional.cross_entropy(values, torch.from_numpy(goals))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    vectors, goals = examples(10_000, rng)
    with torch.inference_mode():
        chosen = world.meta(torch.from_numpy(vectors))[:, 0].numpy().argmax(1)
    metrics = checkpoint.metrics | {"taught_order": float((chosen == goals).mean())}
    config = checkpoint.config | {"meta": "taught"}
    taught = Checkpoint(
        "policy", config, weights_of(world.controller, world.meta), step=checkpoint.step,
        seconds=checkpoint.seconds, metrics=metrics, commit=code_commit(),
    )  # fmt: skip
    taught.round_weights()
    return taught


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m steadyframe.models.hdqn.teach", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    taught = teach(Checkpoint.load(options.checkpoint, task="policy"))
    taught.save(options.out)
    print(f"the meta-controller names the taught goal at {100 * taught.metrics['taught_order']:.1f} % of places")


if __name__ == "__main__":
    _main()
