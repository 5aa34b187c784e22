"""The stylizer as it was trained, stage by stage, for parity with what was exported.

Owns nothing that runs in production: every stage here is the training side's own code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...runtime.errors import UsageError
from ...runtime.image import preprocess_pixels, resize
from ...runtime.manifest import Preprocess
from ...runtime.task import Picture
from ..checkpoint import Checkpoint
from .net import MULTIPLE, StylizeNet, StylizeOptions

PREPROCESS = Preprocess("area", short_side=480, multiple=MULTIPLE)


class StylizeReference:
    """A trained stylizer in PyTorch, in eval mode, that paints every frame as a first one.

    Parameters
    ----------
    checkpoint : of task stylize
    settings : the bundle's `settings`, which must be the neutral ones
    """

    # Largest absolute difference, in grey levels: rounding to 8 bits may fall to either side.
    tolerances = {"stylize.frame": 0.0, "stylize.styled": 1.0, "picture": 2.0}  # noqa: RUF012
    exact = ("stylize.frame",)
    result: Picture

    def __init__(self, checkpoint: Checkpoint, settings: dict[str, Any]) -> None:
        if settings.get("strength", 1.0) != 1.0 or settings.get("keep_colors", 0.0):
            raise UsageError("Parity is measured on the painting itself", expected="neutral settings", found=settings)
        self._net = StylizeNet(StylizeOptions(**checkpoint.config["net"]))
        self._net.load_state_dict(checkpoint.weights)
        self._net.eval()

    @torch.no_grad()
    def stages(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Run one picture, (H, W, 3) BGR, and give every stage under the name it has in the bundle."""
        small = preprocess_pixels(pixels, PREPROCESS)
        frame = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
        styled = self._net(frame, torch.zeros_like(frame), torch.zeros_like(frame[:, :1]))
        painted = (styled[0].permute(1, 2, 0) * 255).round().clamp(0, 255).byte().numpy()
        height, width = pixels.shape[:2]
        picture = resize(painted, (width, height), "cubic" if width > painted.shape[1] else "area")
        self.result = Picture(picture)
        return {"stylize.frame": small[None], "stylize.styled": painted[None], "picture": picture}
