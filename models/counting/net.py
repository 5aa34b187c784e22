"""LSTM, mean over time, MLP: many independent copies of it side by side, as one batched network.

A copy is a seed or a setting. Twenty-six steps of one small LSTM leave any processor waiting for the next launch;
M copies cost nearly the same, so one process trains a whole row of the table.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..activations.functions import HARD_SIGMOID, HARD_TANH, HardFunction, output_noise, output_noise_mean
from ..activations.input_noise import learned_input_noise, learned_input_noise_mean
from .task import SYMBOLS

# alpha of the authors' NSigmoidP and NTanhP (nunits.py); the paper does not say what the experiment used.
ALPHA = (1.1, 1.15)  # of sigmoid and tanh
MEAN_POINTS = 8  # of NANIL's mean, off by up to 0.003 at c = 0.5; see `learned_input_noise_mean`
NOISES = ("soft", "hard", "nan", "nanil")


class CountingNet(nn.Module):
    """M copies of LSTM + mean over time + one-hidden-layer ReLU MLP.

    Parameters
    ----------
    copies, hidden, mlp : M, LSTM units, hidden units of the classifier
    noise : "soft" (sigmoid and tanh), "hard" (the hard ones, no noise), "nan" or "nanil" (hard ones with noise, in
        every gate and both tanhs)
    alpha : of the sigmoids and of the tanhs
    """

    def __init__(
        self, *, copies: int, hidden: int, mlp: int, noise: str, forget_bias: float = 0.0,
        alpha: tuple[float, float] = ALPHA,
    ) -> None:  # fmt: skip
        super().__init__()
        if noise not in NOISES:
            raise ValueError(f"There is no noise {noise!r} here; take one of {', '.join(NOISES)}")
        self.hidden, self.noise, self.alpha = hidden, noise, alpha
        self.cell = lstm_cell  # a trainer may put a compiled one here

        def uniform(*shape: int, fan_in: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(copies, *shape).uniform_(-1, 1) / math.sqrt(fan_in))

        # Gate order: input, forget, output (sigmoids), candidate (tanh).
        self.from_input = uniform(SYMBOLS, 4 * hidden, fan_in=hidden)
        self.from_hidden = uniform(hidden, 4 * hidden, fan_in=hidden)
        self.bias = uniform(1, 4 * hidden, fan_in=hidden)
        self.bias.data[..., hidden : 2 * hidden] += forget_bias
        self.mlp_weight, self.mlp_bias = uniform(hidden, mlp, fan_in=hidden), uniform(1, mlp, fan_in=hidden)
        self.out_weight, self.out_bias = uniform(mlp, SYMBOLS + 1, fan_in=mlp), uniform(1, SYMBOLS + 1, fan_in=mlp)
        # One p a unit and activation: four gates and the tanh of the memory.
        self.p = nn.Parameter(torch.empty(copies, 1, 5 * hidden).uniform_(-1, 1)) if noise.startswith("nan") else None

    def forward(self, hot: Tensor, seen: Tensor, c: Tensor) -> Tensor:
        """Give the scores of each count.

        Parameters
        ----------
        hot : (M, B, T, SYMBOLS)
        seen : (T,) of zeros and ones: steps that enter the mean
        c : (M, 1, 1), scale of the noise

        Returns
        -------
        Tensor
            (M, B, SYMBOLS + 1).
        """
        copies, batch, steps, _ = hot.shape
        # Flattened, because one product over all steps costs less than T small ones.
        inputs = torch.baddbmm(self.bias, hot.reshape(copies, batch * steps, -1), self.from_input)
        inputs = inputs.view(copies, batch, steps, -1).unbind(2)
        h = memory = hot.new_zeros(copies, batch, self.hidden)
        noisy = self.training and self.p is not None
        noises = torch.randn(steps, copies, batch, 5 * self.hidden, device=hot.device) if noisy else None
        p = self.p if self.p is not None else hot.new_zeros(())
        pooled = torch.zeros_like(h)
        for t in range(steps):
            gates = torch.baddbmm(inputs[t], h, self.from_hidden)
            drawn = None if noises is None else noises[t]
            h, memory = self.cell(gates, memory, drawn, p, c, (self.noise, *self.alpha))
            pooled = pooled + h * seen[t]
        features = torch.baddbmm(self.mlp_bias, pooled / seen.sum(), self.mlp_weight).relu()
        return torch.baddbmm(self.out_bias, features, self.out_weight)


def lstm_cell(
    gates: Tensor, memory: Tensor, noises: Tensor | None, p: Tensor, c: Tensor, kind: tuple[str, float, float]
) -> tuple[Tensor, Tensor]:
    """Advance one step: gates (M, B, 4H), memory (M, B, H), noises (M, B, 5H) or None for the mean.

    `kind` is the noise, and alpha of the sigmoids and of the tanhs.
    """
    noise, *alphas = kind
    size = memory.shape[-1]
    parts = (slice(0, 3 * size), slice(3 * size, 4 * size), slice(4 * size, 5 * size))

    def squash(x: Tensor, function: HardFunction, part: slice) -> Tensor:
        if noise == "soft":
            return torch.sigmoid(x) if function is HARD_SIGMOID else torch.tanh(x)
        if noise == "hard":
            return function(x)
        own, drawn = p[..., part], None if noises is None else noises[..., part]
        if noise == "nan":
            alpha = alphas[0] if function is HARD_SIGMOID else alphas[1]
            if drawn is None:
                return output_noise_mean(x, function=function, p=own, c=c, alpha=alpha, half_normal=False)
            return output_noise(x, drawn, function=function, p=own, c=c, alpha=alpha)
        if drawn is None:
            return learned_input_noise_mean(x, function=function, p=own, c=c, points=MEAN_POINTS)
        return learned_input_noise(x, drawn, function=function, p=own, c=c)

    doors = squash(gates[..., : 3 * size], HARD_SIGMOID, parts[0])
    enter, keep, leave = doors.split(size, -1)
    memory = keep * memory + enter * squash(gates[..., 3 * size :], HARD_TANH, parts[1])
    return leave * squash(memory, HARD_TANH, parts[2]), memory


def losses(scores: Tensor, counts: Tensor) -> Tensor:
    """Give each copy's mean cross-entropy, (M,), from scores (M, B, K) and counts (M, B)."""
    each = functional.cross_entropy(scores.flatten(0, 1), counts.flatten(), reduction="none")
    return each.view(counts.shape).mean(-1)
