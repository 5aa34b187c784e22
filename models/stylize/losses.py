"""What a stylized taught is judged by: content, style, variation, and agreement with the taught before it.

Owns the losses of training and of the optimization. All are functions of tensors; BGR in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Layers = Mapping[str, Tensor]
_CELL, _CELLS = 4, 8  # pixels of the network's last sub-pixel planes; cells that a weave is averaged over


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
    """Compare fine detail with the teacher's: edge by edge where the motion is not trusted, by its amount elsewhere.

    Where a stroke is kept from the previous frame it may lie beside the teacher's; a difference of pixels would then
    ask for a blurred stroke. The local amount of detail does not.

    Parameters
    ----------
    image, taught : (B, 3, H, W), ours and the teacher's
    mask : (B, 1, H, W), 1 where the previous output is to be kept

    References
    ----------
    Ours.
    """
    ours, theirs = high_pass(image.float()), high_pass(taught.float())
    edges = (ours - theirs).abs().mean(1, keepdim=True)
    amount = (_local_mean(ours.abs()) - _local_mean(theirs.abs())).abs().mean(1, keepdim=True)
    return ((1 - mask) * edges + mask * amount).mean()


def high_pass(image: Tensor) -> Tensor:
    """Take the 5x5 mean from (B, C, H, W)."""
    return image - F.avg_pool2d(F.pad(image, (2, 2, 2, 2), mode="replicate"), 5, 1)


def weave_loss(image: Tensor, taught: Tensor) -> Tensor:
    """Squared pattern of 4x4 pixels that repeats in the image and not in the teacher's.

    The difference of both is averaged cell by cell over 8x8 cells: what is left of it in each of the 16 places of a
    cell, beside the mean of all, is the weave.

    Parameters
    ----------
    image, taught : (B, C, H, W); H and W multiples of 4

    References
    ----------
    Ours.
    """
    off = image.float() - taught.float()
    planes = F.pixel_unshuffle(off, _CELL).unflatten(1, (-1, _CELL * _CELL))  # (B, C, 16, H/4, W/4)
    cells = min(_CELLS, *planes.shape[-2:])
    pattern = F.avg_pool2d(planes.flatten(1, 2), cells, max(1, cells // 2)).unflatten(1, planes.shape[1:3])
    return (pattern - pattern.mean(2, keepdim=True)).square().mean()


def total_variation(image: Tensor) -> Tensor:
    """Average the squared difference of neighboring pixels of (B, C, H, W), down and across."""
    down = (image[..., 1:, :] - image[..., :-1, :]).square().mean()
    return down + (image[..., 1:] - image[..., :-1]).square().mean()


def _local_mean(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 9, 1, 4, count_include_pad=False)
