"""What the colorizer minimizes: a squared error or a cross-entropy over color bins, and the classification term.

Owns the sum of the losses and the weight of every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .bins import corner_bins
from .net import chroma_from_ab

CLASS_WEIGHT = 1 / 300  # Iizuka et al. 2016, section 3.6: beside a squared error of about 0.004
BIN_CLASS_WEIGHT = 0.1  # beside a cross-entropy of about 3
_WHITE_FROM, _WHITE_CHROMA = 0.75, 6.0  # luma 0..1, CIELAB units


@dataclass(frozen=True, slots=True)
class ColorLoss:
    """Loss of a batch, for either head.

    Parameters
    ----------
    weights : (Q,) from `bins.rarity`, for the head `distribution`
    white_weight : factor on bright neutral pixels, so that white stays white
    class_weight : alpha of the paper; None takes the constant that fits the head
    """

    weights: Tensor | None = None
    white_weight: float = 2.0
    class_weight: float | None = None

    def __call__(
        self, found: dict[str, Tensor], luma: Tensor, ab: Tensor, labels: Tensor | None
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Parameters
        ----------
        found : output of `Colorizer.forward`
        luma : (B, 1, S, S) of the true image in [0, 1]
        ab : (B, 2, S, S) true color, CIELAB units
        labels : (B, N) soft class labels, or None

        Returns
        -------
        dict with `loss` and its parts
        """
        if "bins" in found:
            name, total, class_weight = "bins", self._cross_entropy(found["bins"].float(), luma, ab), BIN_CLASS_WEIGHT
        else:
            chroma = found["chroma"].float()
            target = chroma_from_ab(F.avg_pool2d(ab, ab.shape[-1] // chroma.shape[-1]))
            name, total, class_weight = "mse", (chroma - target).square().mean(), CLASS_WEIGHT
        parts = {name: total}
        if labels is not None and "classes" in found:
            parts["classes"] = -(labels * found["classes"].float().log_softmax(1)).sum(1).mean()
            total = total + (class_weight if self.class_weight is None else self.class_weight) * parts["classes"]
        return {"loss": total, **parts}

    def _cross_entropy(self, logits: Tensor, luma: Tensor, ab: Tensor) -> Tensor:
        """Weighted cross-entropy against the bilinear bins of the true color at the logits' size."""
        factor = ab.shape[-1] // logits.shape[-1]
        ab, luma = F.avg_pool2d(ab, factor), F.avg_pool2d(luma, factor)
        bins, shares = corner_bins(ab)  # (B, 4, H, W) each
        entropy = logits.logsumexp(1) - (shares * logits.gather(1, bins)).sum(1)
        weights = torch.ones_like(entropy) if self.weights is None else (shares * self.weights[bins]).sum(1)
        white = (luma[:, 0] > _WHITE_FROM) & (ab.square().sum(1) < _WHITE_CHROMA**2)
        return (entropy * weights * torch.where(white, self.white_weight, 1.0)).mean()
