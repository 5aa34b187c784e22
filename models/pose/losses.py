"""What the pose network is asked for, as numbers to make small.

Owns the losses; targets come from `targets` and `scenes`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHARPNESS = 12.0  # of the softmax over heat-map cells: a peak of 1 against 2304 empty cells has most of the mass


def map_loss(maps: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Squared error of heat-maps, summed over cells and averaged over joints by their weight.

    Parameters
    ----------
    maps, target : (B, J, H, W); weight : (B, J)

    References
    ----------
    Tompson et al. 2014, section 3.1 (squared error); weights by visibility are ours.
    """
    error = (maps.float() - target).square().sum((2, 3))
    return (error * weight).sum() / weight.sum().clamp(min=1)


def cell_loss(maps: Tensor, target: Tensor, weight: Tensor, shown: Tensor) -> Tensor:
    """Cross-entropy over the cells of each heat-map: which cell is the joint's, however high the map is.

    The squared error is content with a low peak where two places are likely; this asks for the right one.

    Parameters
    ----------
    maps, target : (B, J, H, W); weight : (B, J); shown : (B, J) bool, the joint lies in the image

    References
    ----------
    Ours; a soft target over cells as in Li et al. 2022 (SimCC), in two dimensions and beside the squared error.
    """
    logits = (maps.float() * SHARPNESS).flatten(2)
    share = target.flatten(2)
    share = share / share.sum(-1, keepdim=True).clamp(min=1e-6)
    entropy = -(share * F.log_softmax(logits, -1)).sum(-1)
    weight = weight * shown
    return (entropy * weight).sum() / weight.sum().clamp(min=1)


def centre_loss(logits: Tensor, heat: Tensor, weight: Tensor) -> Tensor:
    """Focal loss of the centre map: exact centres are 1, cells near them count less as negatives.

    Parameters
    ----------
    logits, heat, weight : (B, 1, h, w), weight 0 where nobody knows

    References
    ----------
    Zhou et al. 2019 (Objects as Points), equation 1, with alpha 2 and beta 4.
    """
    logits = logits.float().clamp(-12, 12)
    found = torch.sigmoid(logits)
    exact = (heat > 0.999).to(logits.dtype)
    hit = (1 - found).square() * F.logsigmoid(logits) * exact
    miss = (1 - heat) ** 4 * found.square() * F.logsigmoid(-logits) * (1 - exact)
    return -((hit + miss) * weight).sum() / exact.sum().clamp(min=1)


def box_loss(found: Tensor, value: Tensor, weight: Tensor) -> Tensor:
    """L1 of size and offset, (B, 3, h, w), where `weight` (B, 1, h, w) says that a person is."""
    error = (found.float() - value).abs().sum(1, keepdim=True)
    return (error * weight).sum() / weight.sum().clamp(min=1)


def presence_loss(logits: Tensor, present: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy of presence, (B, 1) against (B,) bool, where `known` (B,)."""
    loss = F.binary_cross_entropy_with_logits(logits.float()[:, 0], present.float(), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)
