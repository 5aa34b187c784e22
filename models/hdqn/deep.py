"""A network as the Q-function of the agent: target network, double DQN, every goal at once.

Owns the learning step. The agent, the environments and the networks know nothing of it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .qfunction import Batch, Goals


@dataclass(frozen=True, kw_only=True)
class DeepOptions:
    """How a network learns.

    Parameters
    ----------
    gamma : discount
    lr : step size of the optimizer
    optimizer : "adam" or "rmsprop" (centered, as in Mnih et al. 2015)
    double : choose the next action by the network and value it by its target (van Hasselt et al. 2016)
    target_rate : share of the network that the target network takes over at every update (the authors' code: 0.001)
    clip : norm of the gradient
    ceiling : largest value that can be; the value of what follows is kept within 0 and this. A controller whose goal
        is terminal cannot earn more than 1, and without this bound its values ran away to 5 (measured; ours)
    """

    gamma: float = 0.99
    lr: float = 2.5e-4
    optimizer: str = "adam"
    double: bool = True
    target_rate: float = 0.005
    clip: float = 10.0
    ceiling: float | None = None


class DeepQ:
    """Q-function of a network `observations -> (N, G, A)`.

    Parameters
    ----------
    net : such a module, with `encode` (no weights) and `head`, one after the other the same as `forward`
    options : as above
    """

    def __init__(self, net: nn.Module, options: DeepOptions) -> None:
        self.net, self.options, self.gamma = net, options, options.gamma
        self.num_choices: int = net.num_choices  # type: ignore[assignment]
        self.target = copy.deepcopy(net).requires_grad_(False)
        self._learned, self._kept = list(net.parameters()), list(self.target.parameters())
        self.updates = 0
        if options.optimizer == "adam":
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(
                net.parameters(), lr=options.lr, eps=1e-5, fused=True
            )
        else:
            self.optimizer = torch.optim.RMSprop(net.parameters(), lr=options.lr, alpha=0.95, eps=0.01, centered=True)

    def values(self, observations: NDArray[Any], goals: Goals) -> NDArray[np.float32]:
        """Value every choice for the goal of each row, (N, num_choices)."""
        with torch.inference_mode():
            every = self.net(torch.from_numpy(np.ascontiguousarray(observations)))  # (N, G, A)
        return every.numpy()[np.arange(len(goals)), goals if every.shape[1] > 1 else 0]

    def learn(self, batch: Batch) -> NDArray[np.float32]:
        """Take one step on the Huber loss of a batch of N transitions; returns the TD errors, (N,)."""
        choices = torch.from_numpy(batch.choices)
        rewards, ends = torch.from_numpy(batch.rewards), torch.from_numpy(np.array(batch.ends))
        now, then = self._encode(batch)
        every = self._of_goals(self.net.head(now), batch.goals)  # (N, [G,] A)
        if rewards.ndim == 2:
            choices = choices[:, None].expand(rewards.shape)
        taken = every.gather(-1, choices.unsqueeze(-1)).squeeze(-1)
        discount = self.gamma if batch.durations is None else self.gamma ** torch.from_numpy(batch.durations)
        targets = rewards + discount * torch.where(ends, 0.0, self._following(then, batch))
        if batch.floors is not None:
            targets = torch.maximum(targets, torch.from_numpy(batch.floors))
        loss = functional.smooth_l1_loss(taken, targets, reduction="none")
        if loss.ndim == 2:
            loss = loss.sum(1)
        if batch.weights is not None:
            loss = loss * torch.from_numpy(batch.weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.mean().backward()
        nn.utils.clip_grad_norm_(self._learned, self.options.clip)
        self.optimizer.step()
        self.updates += 1
        with torch.no_grad():
            torch._foreach_lerp_(self._kept, self._learned, self.options.target_rate)
        errors = (taken - targets).detach().abs()
        found: NDArray[np.float32] = (errors if errors.ndim == 1 else errors.amax(1)).numpy()
        return found

    @torch.no_grad()
    def _encode(self, batch: Batch) -> tuple[Any, Any]:
        """Encode the observations and what follows them, in one go: `encode` has no weights and many small steps."""
        rows, count = np.concatenate((batch.observations, batch.next_observations)), len(batch.observations)
        encoded = self.net.encode(torch.from_numpy(rows))  # type: ignore[operator]
        if isinstance(encoded, Tensor):
            return encoded[:count], encoded[count:]
        return tuple(part[:count] for part in encoded), tuple(part[count:] for part in encoded)

    @torch.no_grad()
    def _following(self, encoded: Any, batch: Batch) -> Tensor:
        """Value what follows, (N,) or (N, G)."""
        values = self._of_goals(self.target.head(encoded), batch.goals)
        ranked = self._of_goals(self.net.head(encoded), batch.goals) if self.options.double else values
        if batch.next_allowed is not None:
            ranked = ranked.masked_fill(~torch.from_numpy(batch.next_allowed), -torch.inf)
        following = values.gather(-1, ranked.argmax(-1, keepdim=True)).squeeze(-1)
        return following if self.options.ceiling is None else following.clamp(0, self.options.ceiling)

    @staticmethod
    def _of_goals(every: Tensor, goals: Goals | None) -> Tensor:
        """Pick each row's goal, or keep all: (N, G, A) -> (N, A) or (N, G, A)."""
        if goals is None:
            return every
        if every.shape[1] == 1:  # the goal is part of the observation (a mask), or there is only one
            return every[:, 0]
        return every[torch.arange(len(goals)), torch.from_numpy(goals)]

    def state(self) -> dict[str, Any]:
        """Give what `restore` needs beside the weights."""
        return {"target": self.target.state_dict(), "optimizer": self.optimizer.state_dict(), "updates": self.updates}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]
