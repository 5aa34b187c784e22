"""The Q-networks: the paper's convolutional one, and a small one over object vectors.

Both give (N, G, A): a value for every goal and action at once, a head a goal. The meta-controller uses the same nets
with one goal and G actions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...runtime.tasks.policy.scene import Scene


class ObjectNet(nn.Module):
    """Values from an object vector: positions are spread over fixed bumps, then two hidden layers.

    Parameters
    ----------
    scene : layout of the vector
    num_goals, num_choices : G, A
    hidden : units of each hidden layer
    spacing : pixels between the centers of the coarse bumps; the fine ones lie twice as dense

    Notes
    -----
    A bump is triangular, so that between two centers both share the value (linear interpolation): nearby positions
    look alike to the network, distant ones do not. Position is spread over a coarse grid of x and y together and over
    fine bumps of each; motion of the agent since each remembered decision, the hazard's place, its motion and its
    distance to the agent over bumps of one dimension. Ours.
    """

    def __init__(
        self, scene: Scene, *, num_goals: int, num_choices: int, hidden: int = 160, spacing: int = 8
    ) -> None:
        super().__init__()
        self.num_goals, self.num_choices = num_goals, num_choices
        parts = _derived(scene, float(spacing))
        flags = torch.eye(scene.length)[:, 2 * scene.history + 2 :]
        self.register_buffer("derive", torch.stack([row for row, _, _ in parts], 1))  # (length, D)
        self.register_buffer("limits", torch.stack([c[[0, -1]] for _, c, _ in parts], 1))  # (2, D)
        self.register_buffer("source", torch.cat([torch.full((len(c),), i) for i, (_, c, _) in enumerate(parts)]))
        self.register_buffer("centers", torch.cat([c for _, c, _ in parts]))
        self.register_buffer("widths", torch.cat([torch.full((len(c),), w) for _, c, w in parts]))
        self.register_buffer("flags", flags)
        self.columns, self.rows = len(parts[0][1]), len(parts[1][1])
        features = self.columns * self.rows + len(self.centers) - self.columns - self.rows + flags.shape[1]
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, num_goals * num_choices),
        )  # fmt: skip
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, vector: Tensor) -> Tensor:
        """Value every goal and action: (N, length) float32 -> (N, G, A)."""
        return self.head(self.encode(vector))

    def encode(self, vector: Tensor) -> Tensor:
        """Spread a vector over bumps; holds no weights: (N, length) -> (N, features)."""
        derived = (vector @ self.derive).clamp(self.limits[0], self.limits[1])
        bumps = functional.relu(1 - (derived[:, self.source] - self.centers).abs() / self.widths)
        x, y = bumps[:, : self.columns], bumps[:, self.columns : self.columns + self.rows]
        grid = x.unsqueeze(2) * y.unsqueeze(1)
        return torch.cat((grid.flatten(1), bumps[:, self.columns + self.rows :], vector @ self.flags), 1)

    def head(self, features: Tensor) -> Tensor:
        """Value every goal and action from what `encode` gives."""
        return self.layers(features).unflatten(1, (self.num_goals, self.num_choices))


def _derived(scene: Scene, spacing: float) -> list[tuple[Tensor, Tensor, float]]:
    """List the derived figures: how each follows from the vector, the centers of its bumps, their width.

    The first two are the coarse x and y of the grid.
    """
    unit, end = torch.eye(scene.length), 2 * scene.history
    x, y, hazard, earlier = unit[0], unit[1], unit[end], unit[end + 1]
    top = min(goal.box[1] for goal in scene.goals) - 2 * spacing
    bottom = max(goal.box[3] for goal in scene.goals) + spacing

    def centers(first: float, last: float, step: float) -> Tensor:
        return torch.arange(first, last + step, step)

    across = (0.0, float(scene.size_hw[1]))
    parts = [
        (x, centers(*across, spacing), spacing),
        (y, centers(top, bottom, spacing), spacing),
        (x, centers(*across, spacing / 2), spacing / 2),
        (y, centers(top, bottom, spacing / 2), spacing / 2),
        (hazard, centers(*across, spacing), spacing),
        (hazard - earlier, centers(-6, 6, 3), 3.0),
        (hazard - x, centers(-5 * spacing, 5 * spacing, spacing / 2), spacing / 2),
    ]
    motion = centers(-2 * spacing, 2 * spacing, spacing / 4)
    for age in range(1, scene.history):
        parts += [(x - unit[2 * age], motion, spacing / 4), (y - unit[2 * age + 1], motion, spacing / 4)]
    return parts


class PaperNet(nn.Module):
    """The convolutional network over 4 luma frames and a goal mask.

    Parameters
    ----------
    num_choices : A
    size : side of the input; the paper's 84
    frames : luma frames of the history, newest last; the mask comes after them
    num_goals : heads; 1 as in the paper, where the mask alone tells the goal

    References
    ----------
    Mnih et al. 2015; the authors' `convnet_atari3.lua`: 32 8x8/4, 64 4x4/2, 64 3x3/1, 512 units, ReLU.
    """

    def __init__(self, *, num_choices: int, size: int = 84, frames: int = 4, num_goals: int = 1) -> None:
        super().__init__()
        self.num_goals, self.num_choices = num_goals, num_choices
        self.features = nn.Sequential(
            nn.Conv2d(frames + 1, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(),
            nn.Conv2d(64, 64, 3, 1), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        with torch.no_grad():
            length = self.features(torch.zeros(1, frames + 1, size, size)).shape[1]
        self.layers = nn.Sequential(nn.Linear(length, 512), nn.ReLU(), nn.Linear(512, num_goals * num_choices))

    def forward(self, planes: Tensor) -> Tensor:
        """Value every action: (N, frames + 1, size, size) uint8 -> (N, G, A)."""
        return self.head(self.encode(planes))

    def encode(self, planes: Tensor) -> Tensor:
        """Scale luma to 0..1 (the mask is 0 or 255); holds no weights."""
        return planes.float() / 255

    def head(self, planes: Tensor) -> Tensor:
        """Value every action from what `encode` gives."""
        return self.layers(self.features(planes)).unflatten(1, (self.num_goals, self.num_choices))
