"""Noisy activation functions: noise where a unit saturates while training, its mean when exported.

References
----------
Gulcehre, Moczulski, Denil, Bengio: Noisy Activation Functions, ICML 2016 (arXiv 1603.00391).
"""

from __future__ import annotations

from .annealing import NoiseAnnealer, SquareRootDecay, fast_decay
from .convert import convert
from .factory import KINDS, Noise, sigmoid, tanh
from .functions import HARD_SIGMOID, HARD_TANH, HardFunction
from .modules import InputNoise, LearnedInputNoise, NoisyActivation, OutputNoise
from .recurrent import NoisyGRU, NoisyGRUCell, NoisyLSTM, NoisyLSTMCell

__all__ = [
    "HARD_SIGMOID",
    "HARD_TANH",
    "KINDS",
    "HardFunction",
    "InputNoise",
    "LearnedInputNoise",
    "Noise",
    "NoiseAnnealer",
    "NoisyActivation",
    "NoisyGRU",
    "NoisyGRUCell",
    "NoisyLSTM",
    "NoisyLSTMCell",
    "OutputNoise",
    "SquareRootDecay",
    "convert",
    "fast_decay",
    "sigmoid",
    "tanh",
]
