"""Annealing, recurrent cells and `convert`, held to torch's own modules."""

from __future__ import annotations

import copy

import pytest
import torch
from steadyframe.models.activations import (
    KINDS,
    Noise,
    NoiseAnnealer,
    NoisyActivation,
    NoisyGRU,
    NoisyGRUCell,
    NoisyLSTM,
    NoisyLSTMCell,
    SquareRootDecay,
    convert,
    fast_decay,
    tanh,
)
from torch import Tensor, nn


def test_the_papers_schedule() -> None:
    schedule = SquareRootDecay()
    assert schedule(0) == schedule(199) == 30.0
    assert schedule(200) == pytest.approx(30 / 2**0.5)
    assert schedule(719_799) > 0.5
    assert schedule(719_800) == schedule(10**7) == 0.5


def test_the_fast_schedule_ends_on_time_and_not_before() -> None:
    schedule = fast_decay(1000)
    assert schedule(0) == 30.0
    assert schedule(1000) == 0.5
    assert schedule(950) > 0.5
    values = [schedule(update) for update in range(1200)]
    assert values == sorted(values, reverse=True)


def test_schedules_refuse_what_cannot_decay() -> None:
    with pytest.raises(ValueError, match="floor <= start"):
        SquareRootDecay(start=0.1, floor=0.5)


def test_annealer_moves_every_activation_and_resumes() -> None:
    net = nn.Sequential(tanh("nan", 3), nn.Sequential(tanh("nanil", 3)))
    annealer = NoiseAnnealer(net, SquareRootDecay(every=1))
    for _ in range(3):
        annealer.step()
    scales = [float(module.c) for module in net.modules() if isinstance(module, NoisyActivation)]
    assert scales == [15.0, 15.0]
    other = NoiseAnnealer(copy.deepcopy(net), SquareRootDecay(every=1))
    other.load_state_dict(annealer.state_dict())
    assert [float(module.c) for module in other.activations] == [15.0, 15.0]
    with pytest.raises(ValueError, match="no noisy activation"):
        NoiseAnnealer(nn.Linear(2, 2), SquareRootDecay())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_without_noise_they_are_torchs(kind: str, bidirectional: bool, batch_first: bool, bias: bool) -> None:
    torch.manual_seed(0)
    options = {"bidirectional": bidirectional, "batch_first": batch_first, "bias": bias}
    theirs = (nn.LSTM if kind == "lstm" else nn.GRU)(3, 5, 2, **options)
    ours = (NoisyLSTM if kind == "lstm" else NoisyGRU)(3, 5, 2, noise=None, **options)
    weights = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        cell, own = name.removeprefix("cells.").split(".")
        layer, backward = divmod(int(cell), 2) if bidirectional else (int(cell), 0)
        weight.data.copy_(weights[f"{own}_l{layer}" + ("_reverse" if backward else "")])
    batch, steps = 2, 7
    x = torch.randn(*((batch, steps) if batch_first else (steps, batch)), 3)
    h = torch.randn(4 if bidirectional else 2, batch, 5)
    for state in (None, (h, h.flip(0)) if kind == "lstm" else h):
        torch.testing.assert_close(ours(x, state), theirs(x, state))


def test_cells_without_noise_are_torchs() -> None:
    x, h = torch.randn(2, 3), torch.randn(2, 5)
    for theirs, ours, state in (
        (nn.LSTMCell(3, 5), NoisyLSTMCell(3, 5, noise=None), (h, h.flip(0))),
        (nn.GRUCell(3, 5), NoisyGRUCell(3, 5, noise=None), h),
    ):
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours(x, state), theirs(x, state))
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("noise", KINDS)
def test_converted_lstm_keeps_its_weights_and_starts_near(noise: str) -> None:
    """In the linear zone the hard functions are the first-order expansions of the soft ones."""
    torch.manual_seed(0)
    theirs = nn.LSTM(3, 6, 2, batch_first=True, bidirectional=True).eval()
    for weight in theirs.parameters():
        weight.data *= 0.3  # stays near the linear zone
    ours = convert(theirs, noise=Noise(kind=noise))
    assert isinstance(ours, NoisyLSTM)
    assert not ours.training
    x = 0.3 * torch.randn(4, 9, 3)
    assert (ours(x)[0] - theirs(x)[0]).abs().max() < 0.02
    ours.train()
    assert (
        sum(p.numel() for p in ours.parameters()) > sum(p.numel() for p in theirs.parameters()) or noise[-1] in "is"
    )
    loss = ours(x)[0].square().sum()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in ours.parameters() if p.grad is not None)


class _Mixed(nn.Module):
    """Everything `convert` knows, one activation used twice, and a sequence inside."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3))
        self.gate = nn.Sigmoid()
        self.again = self.gate
        self.sequence = nn.GRU(4, 6, batch_first=True)
        self.squash = nn.Tanh()
        self.cell = nn.LSTMCell(6, 2)
        self.last = nn.GRUCell(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.again(self.gate(self.image(x)))
        out = self.squash(self.sequence(y.flatten(2).transpose(1, 2))[0])
        return self.last(self.cell(out[:, -1])[0])


def test_convert_reaches_everything_and_leaves_the_original_alone() -> None:
    net = _Mixed()
    before = {name: type(module) for name, module in net.named_modules()}
    x = torch.randn(2, 1, 8, 8)
    converted = convert(net, noise="nah", example=(x,))
    assert {name: type(module) for name, module in net.named_modules()} == before
    assert net.training
    kinds = {type(module) for module in converted.modules()}
    assert not kinds & {nn.Sigmoid, nn.Tanh, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell}
    assert converted.gate is converted.again
    assert (converted.gate.features, converted.gate.dim) == (4, 1)
    assert (converted.squash.features, converted.squash.dim) == (6, -1)
    assert torch.equal(converted.sequence.cells[0].weight_hh, net.sequence.weight_hh_l0)
    assert converted.train()(x).shape == (2, 3)


class _Unreached(nn.Module):
    """Owns an activation that it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(2, 2), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_convert_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="nothing to convert"):
        convert(nn.Linear(2, 2), noise="nan")
    with pytest.raises(ValueError, match="Give example="):
        convert(nn.Sequential(nn.Linear(2, 3), nn.Tanh()), noise="nan")
    with pytest.raises(ValueError, match="proj_size"):
        convert(nn.LSTM(3, 5, proj_size=2), noise="nan")
    shared = nn.Tanh()
    two_sizes = nn.Sequential(nn.Linear(2, 3), shared, nn.Linear(3, 4), shared)
    with pytest.raises(ValueError, match="one number of units"):
        convert(two_sizes, noise="nan", example=(torch.zeros(1, 2),))
    with pytest.raises(ValueError, match="not reached"):
        convert(_Unreached(), noise="nan", example=(torch.zeros(1, 2),))


def test_packed_sequences_are_refused() -> None:
    packed = nn.utils.rnn.pack_sequence([torch.zeros(3, 2), torch.zeros(1, 2)])
    with pytest.raises(ValueError, match="pad packed"):
        NoisyLSTM(2, 4)(packed)
