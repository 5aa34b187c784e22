"""What a stylized taught is judged by: content, style, variation, and agreement with the taught before it.

Owns the losses of training and of the optimization. All are functions of tensors; BGR in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Layers = Mapping[str, Tensor]
_CELL, _CELLS = 8, 8  # pixels, which both of the network's sub-pixel grids divide; cells a weave is averaged over
_OCTAVES = 4  # of detail whose amount is compared: periods of about 4 to 60 pixels
_LEAST = 1e-4  # of a local mean square; below, its root has no slope that says anything


def gram(features: Tensor) -> Tensor:
    """Correlate channels: (B, C, h, w) -> (B, C, C) float32, divided by C h w.

    References
    ----------
    Gatys et al. 2016; the divisor as in Ruder et al. 2016, released code.
    """
    _, channels, height, width = features.shape
    flat = features.flatten(2)
    # In bfloat16, where the features are: products are summed in float32 and only the sums are rounded, to 0.2 %.
    product = (flat @ flat.transpose(1, 2)).float()
    return product / (channels * height * width)


def style_distance(grams: Layers, targets: Layers) -> Tensor:
    """Average over layers the squared distance of Gram matrices (B, C, C), relative to the size of the target.

    Relative, so that a layer counts the same whatever the scale of its activations: ours.
    """
    terms = []
    for name, target in targets.items():
        off = (grams[name] - target).square().sum((1, 2))
        terms.append((off / target.square().sum((1, 2)).clamp_min(1e-12)).mean())
    return torch.stack(terms).mean()


def feature_distance(layers: Layers, targets: Layers, names: Sequence[str]) -> Tensor:
    """Average over layers the squared distance of activations (B, C, h, w), relative to the size of the target."""
    terms = []
    for name in names:
        wanted = targets[name].float()
        terms.append((layers[name].float() - wanted).square().mean() / wanted.square().mean().clamp_min(1e-12))
    return torch.stack(terms).mean()


def temporal_loss(image: Tensor, warped: Tensor, mask: Tensor) -> Tensor:
    """Masked squared difference to the warped previous output, averaged over all pixels and channels.

    Parameters
    ----------
    image, warped : (B, 3, H, W)
    mask : (B, 1, H, W) in [0, 1]

    References
    ----------
    Ruder et al. 2016, equation 7: D counts every pixel, masked or not.
    """
    return (mask * (image.float() - warped.float()).square()).mean()


def detail_loss(image: Tensor, taught: Tensor, mask: Tensor) -> Tensor:
    """Compare fine detail with the teacher's, edge by edge, where the motion is not trusted.

    Where a stroke is kept from the previous frame it may lie beside the teacher's; a difference of pixels would then
    ask for a blurred stroke.

    Parameters
    ----------
    image, taught : (B, 3, H, W), ours and the teacher's
    mask : (B, 1, H, W), 1 where the previous output is to be kept

    References
    ----------
    Ours.
    """
    edges = (high_pass(image.float()) - high_pass(taught.float())).abs().mean(1, keepdim=True)
    return ((1 - mask) * edges).mean()


def amount_loss(image: Tensor, taught: Tensor) -> Tensor:
    """Compare how much detail there is with the teacher's, octave by octave, wherever exactly it lies.

    What is uncertain is painted pale by a loss on pixels: half a stroke costs less than one beside the teacher's. The
    root of the local mean square knows nothing of places within its window.

    Parameters
    ----------
    image, taught : (B, 3, H, W), ours and the teacher's; at least 64 x 64 pixels

    References
    ----------
    Ours.
    """
    ours, theirs = image.float(), taught.float()
    terms = []
    for _ in range(_OCTAVES):
        terms.append((_amount(ours) - _amount(theirs)).abs().mean())
        ours, theirs = F.avg_pool2d(ours, 2), F.avg_pool2d(theirs, 2)
    return torch.stack(terms).mean()


def _amount(image: Tensor) -> Tensor:
    """Root of the local mean square of an octave, (B, C, H, W)."""
    return (_local_mean(high_pass(image).square()) + _LEAST).sqrt()


def high_pass(image: Tensor) -> Tensor:
    """Take the 5x5 mean from (B, C, H, W)."""
    return image - F.avg_pool2d(F.pad(image, (2, 2, 2, 2), mode="replicate"), 5, 1)


def weave_loss(image: Tensor, taught: Tensor) -> Tensor:
    """Squared pattern of 8x8 pixels, or of 4x4, that repeats in the image and not in the teacher's.

    The difference of both is averaged cell by cell over 8x8 cells: what is left of it in each of the 64 places of a
    cell, beside the mean of all, is the weave.

    Parameters
    ----------
    image, taught : (B, C, H, W); H and W multiples of 8

    References
    ----------
    Ours.
    """
    off = image.float() - taught.float()
    planes = F.pixel_unshuffle(off, _CELL).unflatten(1, (-1, _CELL * _CELL))  # (B, C, 64, H/8, W/8)
    cells = min(_CELLS, *planes.shape[-2:])
    pattern = F.avg_pool2d(planes.flatten(1, 2), cells, max(1, cells // 2)).unflatten(1, planes.shape[1:3])
    return (pattern - pattern.mean(2, keepdim=True)).square().mean()


def total_variation(image: Tensor) -> Tensor:
    """Average the squared difference of neighboring pixels of (B, C, H, W), down and across."""
    down = (image[..., 1:, :] - image[..., :-1, :]).square().mean()
    return down + (image[..., 1:] - image[..., :-1]).square().mean()


def _local_mean(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 9, 1, 4, count_include_pad=False)
