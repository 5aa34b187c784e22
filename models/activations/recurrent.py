"""LSTM and GRU whose gates and tanhs may be noisy; with `noise=None` they compute what torch's own do.

The weights have torch's layout (gate order, names of the cells' parameters), so that `convert` can hand them over.
All steps' input products are taken at once; the loop over time is plain Python and is unrolled in an exported graph,
which therefore has a fixed number of steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .factory import Noise, sigmoid, tanh


class _Cell(nn.Module):
    """Weights that LSTM and GRU cells share: `gates` rows of `hidden_size` each, as in torch."""

    def __init__(self, input_size: int, hidden_size: int, gates: int, *, bias: bool) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape).uniform_(-1, 1) / math.sqrt(hidden_size))

        self.weight_ih = uniform(gates * hidden_size, input_size)
        self.weight_hh = uniform(gates * hidden_size, hidden_size)
        self.bias_ih = uniform(gates * hidden_size) if bias else None
        self.bias_hh = uniform(gates * hidden_size) if bias else None

    def from_input(self, x: Tensor) -> Tensor:
        """Give the input's part of the gates, for one step or for all: (..., F) -> (..., gates * H)."""
        return functional.linear(x, self.weight_ih, self.bias_ih)

    def start(self, x: Tensor) -> tuple[Tensor, ...]:
        """Give the state before the first step, for inputs (B, ...)."""
        raise NotImplementedError

    def advance(self, gates: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Advance one step; the first of the state is the output."""
        raise NotImplementedError


class NoisyLSTMCell(_Cell):
    """One step of an LSTM with noisy gates.

    Parameters
    ----------
    noise : as in `sigmoid`; None computes what `torch.nn.LSTMCell` does
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, bias: bool = True, noise: str | Noise | None = "nan"
    ) -> None:
        super().__init__(input_size, hidden_size, 4, bias=bias)
        # Torch's order is input, forget, candidate, output: the first two are one activation.
        self.enter_keep = sigmoid(noise, 2 * hidden_size, dim=-1)
        self.candidate = tanh(noise, hidden_size, dim=-1)
        self.leave = sigmoid(noise, hidden_size, dim=-1)
        self.memory = tanh(noise, hidden_size, dim=-1)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Advance one step: x (B, F), state (h, c) of (B, H) each, zeros if absent; gives the new (h, c)."""
        h, c = self.advance(self.from_input(x), state or self.start(x))
        return h, c

    def start(self, x: Tensor) -> tuple[Tensor, ...]:
        """Give zeros (h, c)."""
        zeros = x.new_zeros(len(x), self.hidden_size)
        return zeros, zeros

    def advance(self, gates: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Advance one step from the input's part of the gates (B, 4H)."""
        h, c = state
        size = self.hidden_size
        doors, candidate, leave = (gates + functional.linear(h, self.weight_hh, self.bias_hh)).split(
            (2 * size, size, size), -1
        )
        enter, keep = self.enter_keep(doors).chunk(2, -1)
        c = keep * c + enter * self.candidate(candidate)
        return self.leave(leave) * self.memory(c), c


class NoisyGRUCell(_Cell):
    """One step of a GRU with noisy gates.

    Parameters
    ----------
    noise : as in `sigmoid`; None computes what `torch.nn.GRUCell` does
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, bias: bool = True, noise: str | Noise | None = "nan"
    ) -> None:
        super().__init__(input_size, hidden_size, 3, bias=bias)
        self.reset_keep = sigmoid(noise, 2 * hidden_size, dim=-1)
        self.candidate = tanh(noise, hidden_size, dim=-1)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """Advance one step: x (B, F), state (B, H), zeros if absent; gives the new state."""
        return self.advance(self.from_input(x), self.start(x) if state is None else (state,))[0]

    def start(self, x: Tensor) -> tuple[Tensor, ...]:
        """Give zeros (h,)."""
        return (x.new_zeros(len(x), self.hidden_size),)

    def advance(self, gates: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Advance one step from the input's part of the gates (B, 3H)."""
        (h,) = state
        sizes = (2 * self.hidden_size, self.hidden_size)
        doors, fresh = gates.split(sizes, -1)
        own_doors, own_fresh = functional.linear(h, self.weight_hh, self.bias_hh).split(sizes, -1)
        reset, keep = self.reset_keep(doors + own_doors).chunk(2, -1)
        candidate = self.candidate(fresh + reset * own_fresh)
        return (candidate + keep * (h - candidate),)


class _Recurrent(nn.Module):
    """Cells stacked in layers and run over time, in one or both directions."""

    cell: type[_Cell]

    def __init__(  # noqa: PLR0913 (the arguments are those of torch.nn.LSTM)
        self, input_size: int, hidden_size: int, num_layers: int = 1, *, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, noise: str | Noise | None = "nan",
    ) -> None:  # fmt: skip
        super().__init__()
        self.hidden_size, self.num_layers, self.directions = hidden_size, num_layers, 2 if bidirectional else 1
        self.batch_first, self.dropout = batch_first, dropout
        self.cells = nn.ModuleList(
            self.cell(
                input_size if layer == 0 else self.directions * hidden_size, hidden_size, bias=bias, noise=noise
            )  # type: ignore[call-arg]
            for layer in range(num_layers)
            for _ in range(self.directions)
        )

    def _run(self, x: Tensor, states: list[tuple[Tensor, ...]] | None) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Run all layers; `states` and what is given back hold one state a cell, (B, H) tensors."""
        if not isinstance(x, Tensor) or x.ndim != 3:
            found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"A sequence must be a tensor of three axes, not {found}; pad packed sequences first")
        if not self.batch_first:
            x = x.transpose(0, 1)  # (B, T, F) from here on
        last = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = functional.dropout(x, self.dropout, self.training)
            outputs = []
            for direction in range(self.directions):
                index = layer * self.directions + direction
                cell = self.cells[index]
                assert isinstance(cell, _Cell)
                steps = cell.from_input(x).unbind(1)
                state = cell.start(x) if states is None else states[index]
                out = []
                for gates in reversed(steps) if direction else steps:
                    state = cell.advance(gates, state)
                    out.append(state[0])
                outputs.append(torch.stack(out[::-1] if direction else out, 1))
                last.append(state)
            x = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
        return (x if self.batch_first else x.transpose(0, 1)), last


class NoisyLSTM(_Recurrent):
    """An LSTM with noisy gates; arguments as `torch.nn.LSTM`, keyword-only after `num_layers`.

    Parameters
    ----------
    noise : as in `sigmoid`; None computes what `torch.nn.LSTM` does

    References
    ----------
    Gulcehre et al. 2016, section 6: every sigmoid and tanh of the LSTM is replaced by its noisy hard form.

    Examples
    --------
    >>> lstm = NoisyLSTM(8, 16, batch_first=True)
    >>> output, (h, c) = lstm(torch.zeros(2, 5, 8))
    >>> output.shape
    torch.Size([2, 5, 16])
    """

    cell = NoisyLSTMCell

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run over a sequence, (T, N, C) or with `batch_first` (N, T, C), as in `torch.nn.LSTM`; not packed."""
        states = None if state is None else list(zip(*(part.unbind(0) for part in state), strict=True))
        output, last = self._run(x, states)
        return output, (torch.stack([h for h, _ in last]), torch.stack([c for _, c in last]))


class NoisyGRU(_Recurrent):
    """A GRU with noisy gates; arguments as `torch.nn.GRU`, keyword-only after `num_layers`.

    Parameters
    ----------
    noise : as in `sigmoid`; None computes what `torch.nn.GRU` does

    References
    ----------
    Gulcehre et al. 2016, section 6.1.
    """

    cell = NoisyGRUCell

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over a sequence, (T, N, C) or with `batch_first` (N, T, C), as in `torch.nn.GRU`; not packed."""
        output, last = self._run(x, None if state is None else [(h,) for h in state.unbind(0)])
        return output, torch.stack([h for (h,) in last])
