"""The colorizer as it was trained, stage by stage, for parity with what was exported.

Owns nothing that runs in production: every stage here is the training side's own code, so that a difference in the
exported graph, in the manifest's preprocessing or in the runtime shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...runtime.image import preprocess_pixels
from ...runtime.tasks.task import Image
from ..checkpoint import Checkpoint
from .evaluate import COLOR_PREPROCESS, GLOBAL_PREPROCESS, compose
from .net import build

_BGR_TO_LUMA = torch.tensor([0.114, 0.587, 0.299])


class ColorizeReference:
    """A trained colorizer in PyTorch, in eval mode.

    Parameters
    ----------
    checkpoint : of task colorize
    settings : the bundle's `settings`; only `saturation` matters here
    """

    # Largest absolute difference; pixels that enter a network must be the very same.
    tolerances = {  # noqa: RUF012
        "global.frame": 0.0,
        "global.global_features": 1e-4,
        "color.frame": 0.0,
        "color.ab": 1e-4,
        "image": 1.0,
    }
    exact = ("global.frame", "color.frame")
    result: Image

    def __init__(self, checkpoint: Checkpoint, settings: dict[str, Any]) -> None:
        self._net = build(checkpoint.config)
        self._net.load_state_dict(checkpoint.weights)
        self._net.eval()
        self._saturation = np.float32(settings.get("saturation", 1.0))

    @torch.no_grad()
    def stages(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Run one image, (H, W, 3) BGR, and give every stage under the name it has in the bundle."""
        crop = preprocess_pixels(pixels, GLOBAL_PREPROCESS)
        small = preprocess_pixels(pixels, COLOR_PREPROCESS)
        features, _ = self._net.describe(_luma(crop))
        ab = self._net.predict_ab(_luma(small), features)[0].permute(1, 2, 0).numpy()
        self.result = Image(compose(pixels, small, np.ascontiguousarray(ab * self._saturation)))
        return {
            "global.frame": crop[None],
            "global.global_features": features.numpy(),
            "color.frame": small[None],
            "color.ab": ab[None],
            "image": self.result.pixels,
        }

    def reset(self) -> None:
        """Nothing is remembered."""


def _luma(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Luma of BGR pixels, (1, 1, H, W) in [0, 1]."""
    return (torch.from_numpy(pixels).float() / 255 @ _BGR_TO_LUMA)[None, None]
