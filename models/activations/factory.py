"""From the name of a noise to an activation, with the authors' constants."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from .functions import HARD_SIGMOID, HARD_TANH, HardFunction
from .modules import InputNoise, LearnedInputNoise, NoisyActivation, OutputNoise

KINDS = ("nan", "nah", "nani", "nanis", "nanil")

# nunits.py: NSigmoidP and NTanhP (alpha, c); NHardTanh and NHardSigmoid; their *Sat forms; NTanhPInp, NSigmoidPInp.
_OUTPUT = {HARD_SIGMOID.name: (1.1, 0.15), HARD_TANH.name: (1.15, 0.5)}
_INPUT_C, _SATURATED_C, _LEARNED_C = 0.05, 0.25, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Which noise, and its constants where they are not the authors'.

    Parameters
    ----------
    kind : "nan" (normal, on the output), "nah" (half-normal, on the output), "nani" (on the input), "nanis" (on the
        input where it saturates), "nanil" (on the input, size learned)
    c : scale of the noise; for "nani" and "nanis" its standard deviation
    alpha : slope of the saturated part; only "nan" and "nah" have one

    Raises
    ------
    ValueError
        If there is no such kind, or alpha is given to a kind that has none.
    """

    kind: str
    c: float | None = None
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"There is no noise {self.kind!r}; take None or one of {', '.join(KINDS)}")
        if self.alpha is not None and self.kind not in ("nan", "nah"):
            raise ValueError(f"Noise {self.kind!r} has no alpha; only 'nan' and 'nah' bend the saturated part")


def noisy(noise: str | Noise, function: HardFunction, features: int, *, dim: int = 1) -> NoisyActivation:
    """Make a noisy activation; arguments as `sigmoid`."""
    if isinstance(noise, str):
        noise = Noise(kind=noise)
    if noise.kind in ("nan", "nah"):
        alpha, c = _OUTPUT[function.name]
        return OutputNoise(
            function, features, dim=dim, c=c if noise.c is None else noise.c,
            alpha=alpha if noise.alpha is None else noise.alpha, half_normal=noise.kind == "nah",
        )  # fmt: skip
    if noise.kind == "nanil":
        return LearnedInputNoise(function, features, dim=dim, c=_LEARNED_C if noise.c is None else noise.c)
    saturated_only = noise.kind == "nanis"
    c = _SATURATED_C if saturated_only else _INPUT_C
    c = c if noise.c is None else noise.c
    return InputNoise(function, features, dim=dim, c=c, saturated_only=saturated_only)


def sigmoid(noise: str | Noise | None, features: int, *, dim: int = 1) -> nn.Module:
    """Give a sigmoid: the plain one, or the noisy hard one with the authors' constants.

    Parameters
    ----------
    noise : None, "nan", "nah", "nani", "nanis", "nanil", or a `Noise` with constants of your own
    features : number of units along `dim`; each has its own p, where the noise has one
    dim : axis of the units, 1 for images, -1 for sequences

    Raises
    ------
    ValueError
        If there is no such noise.
    """
    return nn.Sigmoid() if noise is None else noisy(noise, HARD_SIGMOID, features, dim=dim)


def tanh(noise: str | Noise | None, features: int, *, dim: int = 1) -> nn.Module:
    """Give a tanh: the plain one, or the noisy hard one. Arguments, constants and errors as `sigmoid`."""
    return nn.Tanh() if noise is None else noisy(noise, HARD_TANH, features, dim=dim)
