"""The task: a random sequence of integers, and how many different ones it holds."""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor

LENGTH, SYMBOLS = 26, 11  # the paper's sequence length, and the integers 0..10


def draw(shape: tuple[int, ...], *, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Draw sequences of independent uniform integers, (*shape, LENGTH) int64 in [0, SYMBOLS)."""
    return torch.randint(SYMBOLS, (*shape, LENGTH), device=device, generator=generator)


def one_hot(sequences: Tensor) -> Tensor:
    """Turn integers (..., T) into (..., T, SYMBOLS) float32 of zeros and ones."""
    symbols = torch.arange(SYMBOLS, device=sequences.device)
    return (sequences.unsqueeze(-1) == symbols).float()


def count_unique(hot: Tensor, seen: Tensor) -> Tensor:
    """Count the different integers of each sequence.

    Parameters
    ----------
    hot : (..., T, SYMBOLS), from `one_hot`
    seen : (T,) 1 for the steps that count, 0 for the rest; a curriculum shortens sequences with it

    Returns
    -------
    Tensor
        (...) int64 in [0, SYMBOLS].
    """
    return (hot * seen[:, None]).amax(-2).sum(-1).long()


def count_distribution(length: int = LENGTH, symbols: int = SYMBOLS) -> list[float]:
    """Give the probability of each count 0..symbols, by inclusion and exclusion.

    Examples
    --------
    >>> round(1 - max(count_distribution()), 3)  # the error of always answering with the most frequent count
    0.558
    """

    def surjections(k: int) -> int:
        return sum((-1) ** j * comb(k, j) * (k - j) ** length for j in range(k + 1))

    return [comb(symbols, k) * surjections(k) / symbols**length for k in range(symbols + 1)]


def majority_error() -> float:
    """Give the error of the best constant answer, which any result must be read beside."""
    return 1 - max(count_distribution())
