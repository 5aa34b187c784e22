"""A Neural Turing Machine with a feed-forward controller, M copies side by side.

One head reads and one writes. The controller is two layers of tanh (plain) or of noisy hard-tanh; all else is the
same in both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..activations.functions import HARD_TANH, output_noise, output_noise_mean
from .task import ANSWER, BITS, CHANNELS

ALPHA = 1.15  # of the authors' NTanhP (nunits.py)
ADDRESS = 6  # beyond its key, what a head says to find its place: strength, gate, three shifts, sharpness


class TuringMachine(nn.Module):
    """M copies of a Neural Turing Machine.

    Parameters
    ----------
    copies, hidden : M, units of each of the controller's two layers
    slots, width : size of the memory
    noisy : hard-tanh with NAN noise in the controller instead of tanh

    References
    ----------
    Graves et al. 2014, section 3: equations 2 to 9 in that order; the memory starts as a constant.
    """

    def __init__(self, *, copies: int, hidden: int, slots: int, width: int, noisy: bool) -> None:
        super().__init__()
        self.hidden, self.slots, self.width, self.noisy = hidden, slots, width, noisy
        self.advance = _advance  # a trainer may put a compiled one here; used while training

        def uniform(fan_in: int, units: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(copies, fan_in, units).uniform_(-1, 1) / math.sqrt(fan_in))

        def zeros(units: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(copies, 1, units))

        heads = 2 * (width + ADDRESS) + 2 * width  # two addresses; what to erase and what to add
        self.first, self.first_bias = uniform(CHANNELS + width, hidden), zeros(hidden)
        self.second, self.second_bias = uniform(hidden, hidden), zeros(hidden)
        self.heads, self.heads_bias = uniform(hidden, heads), zeros(heads)
        self.out, self.out_bias = uniform(hidden + width, BITS), zeros(BITS)
        self.p = nn.Parameter(torch.empty(copies, 1, 2 * hidden).uniform_(-1, 1)) if noisy else None

    def forward(self, inputs: Tensor, c: Tensor) -> Tensor:
        """Answer sequences.

        Parameters
        ----------
        inputs : (M, B, T, CHANNELS)
        c : (M, 1, 1), scale of the noise

        Returns
        -------
        Tensor
            (M, B, ANSWER, BITS) logits, of the last ANSWER steps.
        """
        copies, batch, length, _ = inputs.shape
        memory = inputs.new_full((copies, batch, self.slots, self.width), 1e-6)
        places = inputs.new_zeros(copies, batch, 2, self.slots)
        places[..., 0] = 1  # both heads start at slot 0
        read = inputs.new_zeros(copies, batch, self.width)
        draw = self.training and self.noisy
        noises = torch.randn(length, copies, batch, 2 * self.hidden, device=inputs.device) if draw else None
        advance = self.advance if self.training else _advance
        weights = [
            self.first, self.first_bias, self.second, self.second_bias, self.heads, self.heads_bias,
            self.p if self.p is not None else c,
        ]  # fmt: skip
        answers = []
        for t in range(length):
            now = None if noises is None else noises[t]
            h, read, places, memory = advance((inputs[:, :, t], read, places, memory), weights, now, c, self.noisy)
            if t >= length - ANSWER:
                answers.append(torch.baddbmm(self.out_bias, torch.cat((h, read), -1), self.out))
        return torch.stack(answers, 2)


def _advance(
    state: tuple[Tensor, Tensor, Tensor, Tensor], weights: list[Tensor], noises: Tensor | None, c: Tensor, noisy: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Advance one step: controller, address, read, erase and add."""
    x, read, places, memory = state
    first, first_bias, second, second_bias, heads, heads_bias, p = weights
    width = memory.shape[-1]

    def squash(x: Tensor, layer: int) -> Tensor:
        if not noisy:
            return torch.tanh(x)
        part = slice(layer * x.shape[-1], (layer + 1) * x.shape[-1])
        if noises is None:
            return output_noise_mean(x, function=HARD_TANH, p=p[..., part], c=c, alpha=ALPHA, half_normal=False)
        return output_noise(x, noises[..., part], function=HARD_TANH, p=p[..., part], c=c, alpha=ALPHA)

    h = squash(torch.baddbmm(first_bias, torch.cat((x, read), -1), first), 0)
    h = squash(torch.baddbmm(second_bias, h, second), 1)
    said = torch.baddbmm(heads_bias, h, heads)
    addresses, erase, add = said.split((2 * (width + ADDRESS), width, width), -1)
    places = _address(addresses.unflatten(-1, (2, width + ADDRESS)), places, memory)
    reading, writing = places.unbind(2)  # (M, B, slots) each
    read = (reading.unsqueeze(-1) * memory).sum(-2)
    written = writing.unsqueeze(-1)
    memory = memory * (1 - written * torch.sigmoid(erase).unsqueeze(-2))
    return h, read, places, memory + written * torch.tanh(add).unsqueeze(-2)


def _address(said: Tensor, places: Tensor, memory: Tensor) -> Tensor:
    """Move both heads: by content, gate, shift, sharpening; said (M, B, 2, ADDRESS + width)."""
    key, rest = torch.tanh(said[..., ADDRESS:]), said[..., :ADDRESS]
    strength, gate = functional.softplus(rest[..., :1]), torch.sigmoid(rest[..., 1:2])
    shift, sharpness = torch.softmax(rest[..., 2:5], -1), 1 + functional.softplus(rest[..., 5:6])
    lengths = memory.square().sum(-1).unsqueeze(2) * key.square().sum(-1, keepdim=True)
    similar = (key.unsqueeze(3) * memory.unsqueeze(2)).sum(-1) * torch.rsqrt(lengths + 1e-12)
    place = gate * torch.softmax(strength * similar, -1) + (1 - gate) * places
    back, stay, on = shift.split(1, -1)
    place = back * torch.roll(place, -1, -1) + stay * place + on * torch.roll(place, 1, -1)
    place = (place + 1e-12).pow(sharpness)
    return place / place.sum(-1, keepdim=True)
