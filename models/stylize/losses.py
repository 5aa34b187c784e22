"""What a stylized picture is judged by: content, style, variation, and agreement with the picture before it.

Owns the losses of training and of the optimisation. All are functions of tensors; BGR in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Layers = Mapping[str, Tensor]


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
    """Mean over layers of the squared distance of Gram matrices, relative to the target's own size.

    Relative, so that a layer counts the same whatever the scale of its activations: ours.
    """
    terms = []
    for name, target in targets.items():
        off = (grams[name] - target).square().sum((1, 2))
        terms.append((off / target.square().sum((1, 2)).clamp_min(1e-12)).mean())
    return torch.stack(terms).mean()


def feature_distance(layers: Layers, targets: Layers, names: Sequence[str]) -> Tensor:
    """Mean over layers of the squared distance of activations, relative to the target's own size."""
    terms = []
    for name in names:
        goal = targets[name].float()
        terms.append((layers[name].float() - goal).square().mean() / goal.square().mean().clamp_min(1e-12))
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


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels, down and across."""
    down = (image[..., 1:, :] - image[..., :-1, :]).square().mean()
    return down + (image[..., 1:] - image[..., :-1]).square().mean()
