"""What the optimization minimizes for one frame.

Owns the weighted sum of content, style, variation and temporal losses. Knows nothing of solvers or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..backbone import Backbone
from ..losses import feature_distance, gram, style_distance, temporal_loss, total_variation

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights of the losses.

    Content and style distances are relative to the target's own size, which makes them independent of the
    backbone's scale; the temporal loss is in squared units of [0, 1]. The paper's 1 : 20 : 200 belongs to the
    absolute units of its VGG-19; the defaults here were chosen by eye with the tiny darknet.

    Parameters
    ----------
    content, style, temporal : alpha, beta and gamma of Ruder et al. 2016
    variation : of the total variation
    """

    content: float = 1.0
    style: float = 5.0
    temporal: float = 200.0
    variation: float = 5.0


@dataclass(frozen=True, slots=True)
class Anchor:
    """An earlier (or, in a backward pass, later) stylized frame, warped to the frame at hand.

    Parameters
    ----------
    image : (1, 3, H, W) BGR in [0, 1]
    mask : (1, 1, H, W) in [0, 1], how far each pixel of it binds
    """

    image: Tensor
    mask: Tensor


class Objective:
    """The losses that all frames of a video share.

    Parameters
    ----------
    backbone : judges content and style
    painting : (1, 3, h, w) BGR in [0, 1], already at its working size
    """

    def __init__(self, backbone: Backbone, painting: Tensor, weights: Weights | None = None) -> None:
        self.backbone, self.weights = backbone, weights or Weights()
        with torch.no_grad():
            layers = backbone(painting)
            self._grams = {name: gram(layers[name]) for name in backbone.style}

    def of_frame(self, frame: Tensor, anchors: Sequence[Anchor] = ()) -> Loss:
        """Give the loss of images of one frame.

        Parameters
        ----------
        frame : (1, 3, H, W) BGR in [0, 1]
        anchors : one for the short-term loss, several with their long-term masks for the long-term loss

        References
        ----------
        Ruder et al. 2016, equations 1, 2, 7 and 10.
        """
        weights = self.weights
        with torch.no_grad():
            content = self.backbone(frame)

        def loss(image: Tensor) -> Tensor:
            layers = self.backbone(image)
            grams = {name: gram(layers[name]) for name in self._grams}
            total = weights.content * feature_distance(layers, content, self.backbone.content)
            total = total + weights.style * style_distance(grams, self._grams)
            total = total + weights.variation * total_variation(image)
            for anchor in anchors:
                total = total + weights.temporal * temporal_loss(image, anchor.image, anchor.mask)
            return total

        return loss


def fit_painting(pixels: NDArray[np.uint8], frame_wh: tuple[int, int], scale: float = 1.0) -> NDArray[np.uint8]:
    """Resize a painting (H, W, 3) so that its area is that of a frame, times `scale` squared.

    References
    ----------
    Ruder et al. 2016, released code (`style_scale`).
    """
    height, width = pixels.shape[:2]
    factor = scale * (frame_wh[0] * frame_wh[1] / (width * height)) ** 0.5
    size_wh = (max(16, round(width * factor)), max(16, round(height * factor)))
    kernel = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size_wh, interpolation=kernel), np.uint8)
