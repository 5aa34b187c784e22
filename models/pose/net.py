"""The whole pose network: part detector, then spatial model.

Owns putting the two together and building them again from a checkpoint's configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ...runtime.errors import BundleError
from ..checkpoint import Checkpoint
from .detector import PaperDetector, PaperOptions
from .edge import EdgeDetector, EdgeOptions
from .spatial import SpatialModel, SpatialOptions

_BLOCK = re.compile(r"detector\.coarse\.stride\d+\.[1-9]\d*\.")  # weights of the residual blocks


class PoseNet(nn.Module):
    """Part detector and, once it is trained, spatial model.

    Output: what the detector gives, and `final` (B, J, H/4, W/4), the maps to decode.
    """

    def __init__(self, detector: EdgeDetector | PaperDetector, spatial: SpatialModel | None = None) -> None:
        super().__init__()
        self.detector, self.spatial = detector, spatial

    def forward(self, image: Tensor, torso: Tensor | None = None) -> dict[str, Tensor]:
        """Detect joints in (B, 3, H, W) BGR in [0, 1]; `torso` (B, 1, H/4, W/4) is for a model that is told it."""
        found: dict[str, Tensor] = self.detector(image)
        maps = found["maps"]
        return found | {"final": maps if self.spatial is None else self.spatial(maps, torso)}

    def config(self) -> dict[str, Any]:
        """Give plain values from which `build` makes the same network."""
        network = "edge" if isinstance(self.detector, EdgeDetector) else "paper"
        spatial = None if self.spatial is None else self.spatial.options.plain()
        return {"network": network, "detector": self.detector.options.plain(), "spatial": spatial}


def build(config: Mapping[str, Any]) -> PoseNet:
    """Build the network that `PoseNet.config` describes, with fresh weights.

    Raises
    ------
    BundleError
        If the configuration is not one of a pose network.
    """
    try:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in config["detector"].items()}
        edge = config["network"] == "edge"
        detector = EdgeDetector(EdgeOptions(**values)) if edge else PaperDetector(PaperOptions(**values))
        shape = config["spatial"]
        if shape is None:
            return PoseNet(detector)
        shape = {k: tuple(v) if isinstance(v, list) else v for k, v in shape.items()}
        return PoseNet(detector, SpatialModel(SpatialOptions(**shape)))
    except (KeyError, TypeError) as error:
        raise BundleError(f"The checkpoint does not describe a pose network ({error})") from error


def deepened(checkpoint: Checkpoint, depth: Sequence[int]) -> PoseNet:
    """Build a checkpoint's network with its weights and, where `depth` asks for more, further residual blocks.

    Fresh blocks give their input back, so the result finds what the checkpoint finds and can be trained on.

    Parameters
    ----------
    depth : of an edge detector, as in `EdgeOptions`; never less than the checkpoint's

    Raises
    ------
    BundleError
        If the weights do not fit what the checkpoint says of itself.
    """
    config = dict(checkpoint.config)
    if config.get("network") == "edge":
        there = config["detector"]["depth"]
        deeper = [max(a, b) for a, b in zip(there, depth, strict=True)]
        config["detector"] = config["detector"] | {"depth": deeper}
    net = build(config)
    missing, unknown = net.load_state_dict(checkpoint.weights, strict=False)
    lost = [name for name in missing if not _BLOCK.match(name)] + unknown
    if lost:
        raise BundleError("The checkpoint's weights are of another network", found=f"{len(lost)} such as {lost[0]}")
    return net
