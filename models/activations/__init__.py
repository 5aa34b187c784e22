"""Noisy activation functions: noise where a unit saturates while training, its mean when exported.

References
----------
Gulcehre, Moczulski, Denil, Bengio: Noisy Activation Functions, ICML 2016 (arXiv 1603.00391).
"""

from __future__ import annotations

from torch import nn

from .functions import HARD_SIGMOID, HARD_TANH, HardFunction
from .modules import NoisyActivation, OutputNoise

__all__ = ["HARD_SIGMOID", "HARD_TANH", "HardFunction", "NoisyActivation", "OutputNoise", "sigmoid", "tanh"]


def sigmoid(noise: str | None, features: int, *, dim: int = 1) -> nn.Module:
    """Give a sigmoid: the plain one, or the noisy hard one with the authors' constants.

    Parameters
    ----------
    noise : None, "nan" or "nah"
    features : number of units along `dim`; each has its own p
    dim : axis of the units, 1 for images, -1 for sequences

    Raises
    ------
    ValueError
        If there is no such noise.
    """
    return nn.Sigmoid() if noise is None else _noisy(noise, HARD_SIGMOID, features, dim)


def tanh(noise: str | None, features: int, *, dim: int = 1) -> nn.Module:
    """Give a tanh: the plain one, or the noisy hard one. Arguments, constants and errors as `sigmoid`."""
    return nn.Tanh() if noise is None else _noisy(noise, HARD_TANH, features, dim)


# alpha and c of the authors' NSigmoidP and NTanhP (nunits.py).
_OUTPUT_CONSTANTS = {HARD_SIGMOID.name: (1.1, 0.15), HARD_TANH.name: (1.15, 0.5)}


def _noisy(noise: str, function: HardFunction, features: int, dim: int) -> nn.Module:
    if noise in ("nan", "nah"):
        alpha, c = _OUTPUT_CONSTANTS[function.name]
        return OutputNoise(function, features, dim=dim, c=c, alpha=alpha, half_normal=noise == "nah")
    raise ValueError(f"There is no noise {noise!r}; take None, 'nan' or 'nah'")
