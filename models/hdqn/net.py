"""The Q-networks: the paper's convolutional one, and a small one over object vectors.

Both give (N, G, A): a value for every goal and action at once, a head a goal. The meta-controller uses the same nets
with one goal and G actions.
"""

from __future__ import annotations

from typing import Any

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
    distance to the agent over bumps of one dimension. Only some 30 of the 600 features are not zero, and only their
    rows of the first layer are read. Ours.
    """

    def __init__(
        self, scene: Scene, *, num_goals: int, num_choices: int, hidden: int = 128, spacing: int = 8
    ) -> None:
        super().__init__()
        self.num_goals, self.num_choices = num_goals, num_choices
        figures = _figures(scene, float(spacing))
        counts = [count for *_, count in figures]
        self.columns, self.rows = counts[:2]
        flags = torch.eye(scene.length)[:, 2 * scene.history + 2 :]
        starts = [self.columns * self.rows]
        for count in counts[2:]:
            starts.append(starts[-1] + count)
        self.register_buffer("derive", torch.stack([row for row, *_ in figures], 1))  # (length, D)
        self.register_buffer("first", torch.tensor([first for _, first, *_ in figures]))
        self.register_buffer("step", torch.tensor([step for *_, step, _ in figures]))
        self.register_buffer("last", torch.tensor([float(count - 1) for count in counts]))
        self.register_buffer("starts", torch.tensor(starts[:-1]))
        self.register_buffer("flags", flags)
        corners = torch.tensor([0, 1, self.rows, self.rows + 1])  # of a cell of the grid
        self.register_buffer("corners", corners, persistent=False)
        self.register_buffer("flag_rows", torch.arange(flags.shape[1]) + starts[-1])
        features = starts[-1] + flags.shape[1]
        self.table = nn.Parameter(torch.empty(features, hidden).uniform_(-0.2, 0.2))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, num_goals * num_choices)
        )
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, vector: Tensor) -> Tensor:
        """Value every goal and action: (N, length) float32 -> (N, G, A)."""
        return self.head(self.encode(vector))

    def encode(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Spread a vector over bumps: (N, length) -> rows of the table (N, K) and their weights; no parameters."""
        place = torch.minimum(((vector @ self.derive - self.first) / self.step).clamp(min=0), self.last)
        below = torch.minimum(place.floor(), self.last - 1)
        above = place - below  # share of the bump above
        shares, low = torch.stack((1 - above, above), 2), below.long()  # (N, D, 2), (N, D)
        grid = self.rows * low[:, :1] + low[:, 1:2] + self.corners
        grid_shares = (shares[:, 0, :, None] * shares[:, 1, None, :]).flatten(1)
        line = low[:, 2:] + self.starts
        flag_rows = low[:, :1] * 0 + self.flag_rows  # (N, T); `expand` would fix N in an exported graph
        rows = torch.cat((grid, line, line + 1, flag_rows), 1)
        return rows, torch.cat((grid_shares, shares[:, 2:, 0], shares[:, 2:, 1], vector @ self.flags), 1)

    def head(self, encoded: tuple[Tensor, Tensor]) -> Tensor:
        """Compute the value of every goal and action, (N, G, A), from what `encode` returns."""
        rows, weights = encoded
        if torch.compiler.is_exporting():
            hidden = (self.table[rows] * weights.unsqueeze(2)).sum(1)
        else:
            hidden = _WeightedRows.apply(self.table, rows, weights)
        return self.layers(hidden + self.bias).unflatten(1, (self.num_goals, self.num_choices))


class _WeightedRows(torch.autograd.Function):
    """Weighted sum of rows of a table; its gradient is twice as fast as that of `embedding_bag` for few rows."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        """Sum: table (F, H), rows and weights (N, K) -> (N, H)."""
        ctx.save_for_backward(rows, weights)
        ctx.count = len(table)
        return functional.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Add the gradient, (N, H), to each of its rows; rows and weights are data."""
        rows, weights = ctx.saved_tensors
        (gradient,) = gradients
        shares = (gradient[:, None] * weights[:, :, None]).flatten(0, 1)  # (N * K, H)
        found = gradient.new_zeros(ctx.count, gradient.shape[1]).index_add_(0, rows.flatten(), shares)
        return found, None, None


def _figures(scene: Scene, spacing: float) -> list[tuple[Tensor, float, float, int]]:
    """List the figures that are spread: row of `derive`, first center, step between centers, number of centers.

    The first two are x and y of the grid.
    """
    unit, end = torch.eye(scene.length), 2 * scene.history
    x, y, hazard, earlier = unit[0], unit[1], unit[end], unit[end + 1]
    top = min(goal.box[1] for goal in scene.goals) - 2 * spacing
    height = max(goal.box[3] for goal in scene.goals) + spacing - top
    width = float(scene.size_hw[1])

    def spread(row: Tensor, first: float, extent: float, step: float) -> tuple[Tensor, float, float, int]:
        return row, first, step, int(-(-extent // step)) + 1

    figures = [
        spread(x, 0.0, width, spacing),
        spread(y, top, height, spacing),
        spread(x, 0.0, width, spacing / 2),
        spread(y, top, height, spacing / 2),
        spread(hazard, 0.0, width, spacing),
        spread(hazard - earlier, -6.0, 12.0, 3.0),
        spread(hazard - x, -5 * spacing, 10 * spacing, spacing / 2),
    ]
    for age in range(1, scene.history):
        for row in (x - unit[2 * age], y - unit[2 * age + 1]):
            figures.append(spread(row, -2 * spacing, 4 * spacing, spacing / 4))
    return figures


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
        """Scale luma planes, (N, C, H, W), to 0..1 (the mask is 0 or 255); holds no weights."""
        return planes.float() / 255

    def head(self, planes: Tensor) -> Tensor:
        """Compute the value of every action, (N, G, A), from what `encode` returns."""
        return self.layers(self.features(planes)).unflatten(1, (self.num_goals, self.num_choices))


class TableNet(nn.Module):
    """A table as a network: the number of a state to its values.

    Parameters
    ----------
    num_states, num_goals, num_choices : S, G, A
    """

    def __init__(self, num_states: int, *, num_goals: int, num_choices: int) -> None:
        super().__init__()
        self.num_goals, self.num_choices = num_goals, num_choices
        self.register_buffer("table", torch.zeros(num_states, num_goals, num_choices))

    def forward(self, state: Tensor) -> Tensor:
        """Look up: (N,) int64 -> (N, G, A)."""
        return self.table[state]
