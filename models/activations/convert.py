"""Put noisy activations into a network that was written without them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .factory import Noise, sigmoid, tanh
from .recurrent import NoisyGRU, NoisyGRUCell, NoisyLSTM, NoisyLSTMCell

SIMPLE = (nn.Sigmoid, nn.Tanh)
_CELLS = {nn.LSTMCell: NoisyLSTMCell, nn.GRUCell: NoisyGRUCell}
_SEQUENCES = {nn.LSTM: NoisyLSTM, nn.GRU: NoisyGRU}


def convert(net: nn.Module, *, noise: str | Noise, example: tuple[Any, ...] | None = None) -> nn.Module:
    """Give a copy of a network with noisy activations in place of its sigmoids and tanhs.

    Weights are kept. `nn.LSTM`, `nn.GRU` and their cells become noisy ones; `nn.Sigmoid` and `nn.Tanh` become hard
    ones with noise, whose number of units is found by running the network once. Functions called by name
    (`torch.sigmoid(x)`) are not modules and stay as they are.

    Parameters
    ----------
    net : any network; it is not changed
    noise : "nan", "nah", "nani", "nanis", "nanil", or a `Noise`
    example : inputs of the network; needed where it has `nn.Sigmoid` or `nn.Tanh`. Units are along axis 1, of
        sequences (N, T, F) along the last

    Raises
    ------
    ValueError
        If there is nothing to convert, `example` is missing, an activation is not reached by it, or one activation
        serves different numbers of units.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    >>> convert(net, noise="nan", example=(torch.zeros(1, 3),))[1]
    OutputNoise(hard-tanh, 4, dim=1, c=0.5, alpha=1.15, normal)
    """
    units = _units(net, example)
    net = copy.deepcopy(net)
    made: dict[int, nn.Module] = {}  # a module that stands in two places must stay one module
    for name, module in list(net.named_modules(remove_duplicate=False)):
        new = made.get(id(module)) or _replacement(module, noise, units.get(name))
        if new is None:
            continue
        made[id(module)] = new
        new.train(module.training)
        parameters = next(module.parameters(), next(net.parameters(), None))
        if parameters is not None:
            new.to(parameters.device, parameters.dtype)
        if not name:
            return new
        parent, _, child = name.rpartition(".")
        setattr(net.get_submodule(parent), child, new)
    if not made:
        raise ValueError("There is nothing to convert: no nn.Sigmoid, nn.Tanh, nn.LSTM, nn.GRU or cell of these")
    return net


def _replacement(module: nn.Module, noise: str | Noise, units: tuple[int, int] | None) -> nn.Module | None:
    """Make the noisy counterpart of one module, or nothing."""
    kind = type(module)
    if isinstance(module, SIMPLE):
        assert units is not None
        make = sigmoid if isinstance(module, nn.Sigmoid) else tanh
        return make(noise, units[0], dim=units[1])
    if kind in _CELLS:
        return _cell(module, noise)
    if kind in _SEQUENCES:
        return _sequence(module, noise)
    return None


def _units(net: nn.Module, example: tuple[Any, ...] | None) -> dict[str, tuple[int, int]]:
    """Find the number of units and their axis for each `nn.Sigmoid` and `nn.Tanh`, by running the network once."""
    simple = {
        name: module for name, module in net.named_modules(remove_duplicate=False) if isinstance(module, SIMPLE)
    }
    if not simple:
        return {}
    if example is None:
        raise ValueError(f"Give example=(inputs, ...): how many units {', '.join(simple)} have, only a run shows")
    seen: dict[int, set[tuple[int, int]]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        dim = -1 if inputs[0].ndim == 3 else 1
        seen.setdefault(id(module), set()).add((inputs[0].shape[dim], dim))

    hooks = [module.register_forward_hook(note) for module in set(simple.values())]
    training = {module: module.training for module in net.modules()}
    try:
        with torch.no_grad():
            net.eval()(*example)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training.items():
            module.training = mode
    found = {name: seen.get(id(module), set()) for name, module in simple.items()}
    if wrong := {name: sorted(each) for name, each in found.items() if len(each) != 1}:
        raise ValueError(
            "Each activation must serve one number of units; with this example these do not "
            f"(none: it was not reached): {wrong}"
        )
    return {name: next(iter(each)) for name, each in found.items()}


def _cell(module: nn.Module, noise: str | Noise) -> nn.Module:
    """Turn torch's cell into ours, with its weights."""
    assert isinstance(module, (nn.LSTMCell, nn.GRUCell))
    new = _CELLS[type(module)](module.input_size, module.hidden_size, bias=module.bias, noise=noise)
    _hand_over(new, dict(module.named_parameters()))
    return new


def _sequence(module: nn.Module, noise: str | Noise) -> nn.Module:
    """Turn torch's LSTM or GRU into ours, with its weights."""
    assert isinstance(module, (nn.LSTM, nn.GRU))
    if module.proj_size:
        raise ValueError("An LSTM with proj_size cannot be converted; there is no noisy one with projections")
    new = _SEQUENCES[type(module)](
        module.input_size, module.hidden_size, module.num_layers, bias=module.bias, batch_first=module.batch_first,
        dropout=module.dropout, bidirectional=module.bidirectional, noise=noise,
    )  # fmt: skip
    weights = dict(module.named_parameters())
    for index, cell in enumerate(new.cells):
        layer, backward = divmod(index, new.directions)
        ending = f"_l{layer}" + ("_reverse" if backward else "")
        _hand_over(cell, {n.removesuffix(ending): w for n, w in weights.items() if n.endswith(ending)})
    return new


@torch.no_grad()
def _hand_over(cell: nn.Module, weights: Mapping[str, Tensor]) -> None:
    for name, weight in weights.items():
        cell.get_parameter(name).copy_(weight)
