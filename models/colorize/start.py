"""Training that starts from another network's weights: taken over where they fit, fresh where they do not.

Owns what "fit" means. Reads checkpoints and the checkpoints of bundles by `models.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...runtime.errors import BundleError

_OWN = ("centers", "log_weights")  # of the new training, never of the old


def start_from(net: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Copy weights of any shape into a network, by name; a wider layer takes the narrow one into its first channels.

    Parameters
    ----------
    net : changed in place
    weights : state dict of a narrower or equal network; its heads and activations may differ

    Returns
    -------
    list of str
        Names of the tensors that stay as they were initialized.

    Raises
    ------
    BundleError
        If nothing of the low-level features fits: the weights are those of another network.
    """
    fresh = []
    state = net.state_dict()
    for name, ours in state.items():
        theirs = weights.get(name)
        if name in _OWN or theirs is None or not _fits(ours, theirs):
            fresh.append(name)
        elif ours.shape == theirs.shape:
            ours.copy_(theirs)
        else:
            _grow(ours, theirs.to(ours.dtype))
    kept = [name for name in state if name.startswith("low_level.") and name not in fresh]
    if not kept:
        raise BundleError("The network cannot start from these weights", found="no low-level layer that fits")
    return fresh


def _fits(ours: Tensor, theirs: Tensor) -> bool:
    return ours.dim() == theirs.dim() and all(a >= b for a, b in zip(ours.shape, theirs.shape, strict=True))


@torch.no_grad()
def _grow(ours: Tensor, theirs: Tensor) -> None:
    """Put a small tensor into the first rows and columns of a larger one.

    The old outputs read nothing from the new inputs at first, so that they keep their values.
    """
    rows = slice(0, theirs.shape[0])
    if ours.dim() > 1:
        ours[rows] = 0
        ours[rows, : theirs.shape[1]] = theirs
    else:
        ours[rows] = theirs
